"""Flower's Grid over Ray actors: the same ServerApp and ClientApp, no daemon and no polling.

The one module that leans on Flower's internal types (`Run`, message ids); Flower is pinned, and a
contract test watches what is used here.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

import ray
from flwr.app import Error, Message, RecordDict
from flwr.common.constant import SUPERLINK_NODE_ID, ErrorCode
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

# How long a pull waits for a first reply before it tells the caller that there is none.
_PULL_SECONDS = 0.05


class RayGrid(Grid):
    """Messages to actors that hold their sites' features in memory.

    Parameters
    ----------
    hosts : mapping of int to actor handle
        The `SiteHost` of each node id; a host may hold many nodes.
    """

    def __init__(self, hosts: Mapping[int, Any]) -> None:
        self._hosts = hosts
        self._sent: dict[str, tuple[Message, Any]] = {}
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
        return sorted(self._hosts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Hand messages to the nodes' hosts; a host works through its messages one by one."""
        ids = []
        for message in messages:
            message_id = uuid.uuid4().hex
            message.metadata.__dict__["_message_id"] = message_id
            reply = self._hosts[message.metadata.dst_node_id].answer.remote(message)
            self._sent[message_id] = (message, reply)
            ids.append(message_id)
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Take the replies that have arrived, each once."""
        by_reply = {self._sent[i][1]: i for i in message_ids if i in self._sent}
        if not by_reply:
            return []
        ready, _ = ray.wait(list(by_reply), num_returns=1, timeout=_PULL_SECONDS)
        if ready and len(by_reply) > 1:
            ready, _ = ray.wait(list(by_reply), num_returns=len(by_reply), timeout=0)
        replies = []
        for reference in ready:
            message, reply = self._sent.pop(by_reply[reference])
            try:
                replies.append(ray.get(reply))
            except ray.exceptions.RayError as error:
                lost = Error(
                    ErrorCode.NODE_UNAVAILABLE, f"its process died: {type(error).__name__}"
                )
                replies.append(Message(lost, reply_to=message))
        return replies

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        """Send messages and wait for all replies, or for `timeout` seconds."""
        ids = list(self.push_messages(messages))
        pending = [self._sent[message_id][1] for message_id in ids]
        if pending:
            ray.wait(pending, num_returns=len(pending), timeout=timeout)
        return self.pull_messages(ids)
