"""Flower's Grid over Ray actors, which hold their sites' features in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import ray
from flwr.app import Error, Message
from flwr.common.constant import ErrorCode

from simulations.lab_grid import LabGrid

# How long a pull waits for a first reply before it tells the caller that there is none.
_PULL_SECONDS = 0.05


class RayGrid(LabGrid):
    """Messages to actors that hold their sites' features in memory.

    Parameters
    ----------
    hosts : mapping of int to actor handle
        The `SiteHost` of each node id; a host may hold many nodes.
    """

    def __init__(self, hosts: Mapping[int, Any]) -> None:
        self._hosts = hosts
        self._sent: dict[str, tuple[Message, Any]] = {}
        super().__init__(hosts)

    def _send(self, message_id: str, message: Message) -> None:
        # A host works through its messages one by one.
        reply = self._hosts[message.metadata.dst_node_id].answer.remote(message)
        self._sent[message_id] = (message, reply)

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
