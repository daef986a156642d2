"""Flower's own loop of a SuperNode: an answer that nobody waits for delays no other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from flwr.app import Message, RecordDict
from flwr.supercore.object_store import ObjectStoreFactory
from flwr.supernode import start_client_internal
from flwr.supernode.nodestate import NodeStateFactory

from client.deployment.turns import answer_in_turn


class Loop:
    """One turn of Flower's loop, with its own store of messages and its own way to send."""

    def __init__(self, question: str) -> None:
        objects = ObjectStoreFactory()
        self.store, self.state = objects.store(), NodeStateFactory(objects).state()
        self.state.set_node_id(4)
        self.sent: list[str] = []
        self.later: list[str] = []
        self._question = question
        self.flowers = SimpleNamespace(
            _pull_and_store_message=self._pull,
            _push_messages=vars(start_client_internal)["_push_messages"],
        )

    def _pull(self, **given: Any) -> int | None:
        return None if given["receive"]() is None else 1

    def answer(self, question: str) -> None:
        """Have an answer come to lie there, as a worker's or as that of one that has ended."""
        asked = Message(RecordDict(), 4, "train.contribute", group_id="1")
        asked.metadata.__dict__.update({"_message_id": question, "_run_id": 1})
        reply = Message(RecordDict(), reply_to=asked)
        vars(start_client_internal)["_insert_message"](reply, self.state, self.store)

    def _send(self, message: Message, *_: object) -> tuple[set[str], str]:
        self.sent.append(message.metadata.reply_to_message_id)
        for question in self.later:
            self.answer(question)
        self.later.clear()
        return set(), "session"

    def turn(self) -> None:
        """Pull a message and send what there is, as Flower's loop does."""
        question = Message(RecordDict(), 4, "train.contribute", group_id="1")
        question.metadata.__dict__["_message_id"] = self._question
        self.flowers._pull_and_store_message(receive=lambda: (question, None))
        self.flowers._push_messages(
            state=self.state, object_store=self.store, send=self._send, push_object=None
        )


@pytest.fixture
def loop() -> Loop:
    """A turn whose answer comes after one to a run that was stopped."""
    made = Loop("now")
    made.answer("of a run that was stopped")
    made.later = ["now"]
    return made


def test_flowers_own_loop_leaves_the_answer_lying(loop: Loop) -> None:
    # Where this fails, Flower has mended it, and `client.deployment.turns` can go.
    loop.turn()
    assert loop.sent == ["of a run that was stopped"]


def test_the_turn_ends_with_the_answer_to_what_was_asked(loop: Loop) -> None:
    answer_in_turn(loop.flowers)
    loop.turn()
    assert loop.sent == ["of a run that was stopped", "now"]


def test_an_answer_that_is_there_is_sent_alone() -> None:
    loop = Loop("now")
    answer_in_turn(loop.flowers)
    loop.answer("now")
    loop.turn()
    assert loop.sent == ["now"]


def test_no_message_is_no_turn() -> None:
    loop = Loop("now")
    answer_in_turn(loop.flowers)
    assert loop.flowers._pull_and_store_message(receive=lambda: None) is None
