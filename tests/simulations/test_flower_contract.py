"""What the Ray grid takes from Flower's inside; a new Flower that breaks it fails here by name."""

from __future__ import annotations

import inspect
from importlib.metadata import version

import pytest
from flwr.app import Context, Error, Message, RecordDict
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from simulations.lab_grid import LabGrid
from simulations.local_grid import LocalGrid
from simulations.ray_grid import RayGrid


def test_flower_is_the_release_that_the_grid_was_written_for() -> None:
    assert version("flwr").startswith("1.41.")


def test_a_grid_has_these_abstract_methods_and_no_others() -> None:
    assert Grid.__abstractmethods__ == {
        *("set_run", "run", "create_message", "get_node_ids"),
        *("push_messages", "pull_messages", "send_and_receive"),
    }
    assert inspect.isabstract(LabGrid)
    assert not inspect.isabstract(RayGrid)
    assert not inspect.isabstract(LocalGrid)


def test_an_empty_run_can_be_made_from_its_number() -> None:
    assert Run.create_empty(run_id=7).run_id == 7


def test_a_message_takes_its_run_and_sender_from_the_task_identity() -> None:
    RayGrid({})
    message = Message(RecordDict(), 5, "query.join", ttl=10.0, group_id="1")
    assert message.metadata.run_id == TaskIdentity.run_id == 1
    assert message.metadata.src_node_id == SUPERLINK_NODE_ID
    assert message.metadata.dst_node_id == 5


def test_a_message_id_can_be_set_and_comes_back_in_the_reply() -> None:
    RayGrid({})
    message = Message(RecordDict(), 5, "query.join")
    message.metadata.__dict__["_message_id"] = "abc"
    reply = Message(RecordDict(), reply_to=message)
    assert reply.metadata.reply_to_message_id == "abc"
    assert reply.metadata.src_node_id == 5


def test_an_error_reply_carries_code_and_reason() -> None:
    RayGrid({})
    message = Message(RecordDict(), 5, "query.join")
    reply = Message(Error(ErrorCode.NODE_UNAVAILABLE, "gone"), reply_to=message)
    assert reply.has_error()
    assert (reply.error.code, reply.error.reason) == (ErrorCode.NODE_UNAVAILABLE, "gone")


def test_a_context_is_made_of_these_fields() -> None:
    context = Context(
        run_id=1, node_id=2, node_config={}, state=RecordDict(), run_config={"seed": 0}
    )
    assert context.run_config["seed"] == 0


def test_a_grid_without_hosts_has_no_nodes_and_no_replies() -> None:
    grid = RayGrid({})
    assert list(grid.get_node_ids()) == []
    assert list(grid.pull_messages(["unknown"])) == []
    with pytest.raises(KeyError):
        grid.push_messages([Message(RecordDict(), 5, "query.join")])
