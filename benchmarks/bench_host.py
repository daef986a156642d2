"""A host of benchmark sites: as the lab's own, over random features instead of a cohort."""

from __future__ import annotations

from pathlib import Path

from flwr.app import Context, Message, RecordDict

from benchmarks.simulation_overhead import make_site
from client.app import make_app, trainer_of_node
from client.site import Site
from common.settings import RunSettings
from simulations.hosts import FIRST_NODE_ID


class BenchHost:
    """Holds sites in memory and answers with the ClientApp."""

    def __init__(self, settings: RunSettings) -> None:
        self._settings = settings
        self._sites: dict[int, Site] = {}
        self._app = make_app(lambda context: self._sites[context.node_id], trainer_of_node)

    def open(self, folder: str, node_id: int, sites: int) -> None:
        """Open one site."""
        self._sites[node_id] = make_site(Path(folder), node_id - FIRST_NODE_ID, sites)

    def answer(self, message: Message) -> Message:
        """Answer a message."""
        node_id = message.metadata.dst_node_id
        config = self._settings.run_config()
        return self._app(message, Context(1, node_id, {}, RecordDict(), config))
