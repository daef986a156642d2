"""FedNova (Wang et al., NeurIPS 2020, section 4): changes by step, so that steps may differ."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid

from server.strategies.base import (
    STEPS,
    WEIGHT,
    Aggregation,
    arrays_of,
    metric_of,
    to_arrays,
    to_record,
)


class Normalised(Aggregation):
    """Averages ``w + (tau_eff / tau_i) (w_i - w)``, where ``tau_eff = sum_i p_i tau_i``.

    This is the paper's equation 8, ``w - tau_eff * sum_i p_i (w - w_i) / tau_i``, since the
    shares ``p_i`` of those that answer are made to sum to 1.
    """

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Keep the weights that a round starts from."""
        self._start = to_arrays(arrays)
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Rescale replies, then average."""
        replies = list(replies)
        shares = [metric_of(reply, WEIGHT) for reply in replies]
        steps = [metric_of(reply, STEPS) for reply in replies]
        effective = float(np.average(steps, weights=shares)) if replies else 0.0
        for reply, own in zip(replies, steps, strict=True):
            key = next(iter(reply.content.array_records))
            reply.content[key] = self._rescaled(reply, effective / own)
        return super().aggregate_train(server_round, replies)

    def _rescaled(self, reply: Message, factor: float) -> ArrayRecord:
        start, arrays = self._start, arrays_of(reply)
        moved = {
            name: start[name] + factor * (array.astype(np.float64) - start[name])
            for name, array in arrays.items()
        }
        return to_record(moved, np.float64)
