"""Krum (Blanchard et al., NeurIPS 2017, section 4): the reply that is closest to the others."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Krum
from flwr.serverapp.strategy.multikrum import select_multikrum

from common.errors import RoundError
from common.finetuning.strategies import KrumSettings
from server.strategies.base import Aggregation, arrays_of, to_arrays, to_record


class CentredKrum(Aggregation, Krum):
    """Flower's, over distances of what sites changed.

    Flower takes a distance from the norms of whole weights, in float32. These are so much larger
    than what a round changes that they cancel to noise. The changes have the same distances.

    Parameters
    ----------
    settings : KrumSettings
        How many sites may be hostile.
    """

    def __init__(self, settings: KrumSettings) -> None:
        super().__init__(num_malicious_nodes=settings.hostile)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Keep the weights that a round starts from."""
        self._start = to_arrays(arrays)
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Take the reply that Flower selects among the changes.

        Raises
        ------
        RoundError
            If there are too few sites for so many hostile ones: it takes more than 2f + 2.
        """
        replies, hostile = list(replies), self.num_malicious_nodes
        if hostile and len(replies) <= 2 * hostile + 2:
            raise RoundError(
                f"krum: {len(replies)} sites answered, {2 * hostile + 3} are needed against "
                f"{hostile} hostile; lower the strategy's setting hostile"
            )
        changes = [RecordDict({"arrays": self._change(reply)}) for reply in replies]
        chosen = select_multikrum(changes, hostile, 1)[0]
        index = next(i for i, change in enumerate(changes) if change is chosen)
        return super().aggregate_train(server_round, [replies[index]])

    def _change(self, reply: Message) -> ArrayRecord:
        arrays = arrays_of(reply)
        start = self._start
        return to_record(
            {name: arrays[name].astype(np.float64) - start[name] for name in arrays}, np.float64
        )
