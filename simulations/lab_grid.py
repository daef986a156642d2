"""What the lab's grids share: Flower's Grid without a daemon, for the same ServerApp and ClientApp.

The one module that leans on Flower's internal types (`Run`, message ids); Flower is pinned, and a
contract test watches what is used here.
"""

from __future__ import annotations

import uuid
from abc import abstractmethod
from collections.abc import Iterable

from flwr.app import Message, RecordDict
from flwr.common.constant import SUPERLINK_NODE_ID
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity


class LabGrid(Grid):
    """A grid whose nodes are known beforehand.

    Parameters
    ----------
    nodes : iterable of int
        Their ids.
    """

    def __init__(self, nodes: Iterable[int]) -> None:
        self._nodes = sorted(nodes)
        self.set_run(Run.create_empty(run_id=1))

    def set_run(self, run: Run) -> None:
        """Take over a run's description."""
        self._run = run
        # Flower keeps the identity of the process that makes messages outside of the grid.
        TaskIdentity.run_id = run.run_id
        TaskIdentity.node_id = SUPERLINK_NODE_ID
        TaskIdentity.task_id = run.run_id

    @property
    def run(self) -> Run:
        """The run's description."""
        return self._run

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Make a message to a node."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def get_node_ids(self) -> Iterable[int]:
        """List the nodes."""
        return list(self._nodes)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Hand messages to their nodes, and give their ids."""
        ids = []
        for message in messages:
            message_id = uuid.uuid4().hex
            message.metadata.__dict__["_message_id"] = message_id
            self._send(message_id, message)
            ids.append(message_id)
        return ids

    @abstractmethod
    def _send(self, message_id: str, message: Message) -> None:
        """Hand one message to its node."""
