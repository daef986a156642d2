"""Flower's Grid within one process: a study runs many federations at once, one a core."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flwr.app import Context, Message, RecordDict

from client.app import keep_trainers, make_app
from client.site import Site
from common.settings import RunSettings
from simulations.lab_grid import LabGrid


class LocalGrid(LabGrid):
    """Messages that the ClientApp answers here and now.

    Parameters
    ----------
    sites : mapping of int to Site
        The site of each node id.
    settings : RunSettings
        The run.
    """

    def __init__(self, sites: Mapping[int, Site], settings: RunSettings) -> None:
        self._config = settings.run_config()
        self._replies: dict[str, Message] = {}

        def site_of(context: Context) -> Site:
            return sites[context.node_id]

        self._app = make_app(site_of, keep_trainers(site_of, settings))
        super().__init__(sites)

    def _send(self, message_id: str, message: Message) -> None:
        context = Context(
            run_id=message.metadata.run_id,
            node_id=message.metadata.dst_node_id,
            node_config={},
            state=RecordDict(),
            run_config=self._config,
        )
        self._replies[message_id] = self._app(message, context)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Take the replies, each once."""
        return [self._replies.pop(one) for one in message_ids if one in self._replies]

    def send_and_receive(
        self,
        messages: Iterable[Message],
        *,
        timeout: float | None = None,  # noqa: ARG002
    ) -> Iterable[Message]:
        """Send messages and take their replies, which are there at once."""
        return self.pull_messages(self.push_messages(messages))
