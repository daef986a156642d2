"""SCAFFOLD (Karimireddy et al., ICML 2020): control variates against the drift of sites."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid

from server.strategies.base import (
    WEIGHT,
    Aggregation,
    Groups,
    Named,
    copied,
    metric_of,
    to_arrays,
    to_record,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

CONTROL = "control|"


class Scaffold(Aggregation):
    """Averages weights, and adds what sites changed of their control variates to the mean one.

    Equations 4 and 5: sites weigh by their share, not alike, and the mean control variate moves
    by the share that answered, as ``|S|/N`` there.
    """

    def __init__(self) -> None:
        super().__init__()
        self._control: Named = {}

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Send the mean control variate beside the weights."""
        if not self._control:
            self._control = {name: np.zeros_like(a) for name, a in to_arrays(arrays).items()}
        beside = to_record(
            {f"{CONTROL}{name}": array for name, array in self._control.items()}, np.float32
        )
        return super().configure_train(
            server_round, ArrayRecord({**arrays, **beside}), config, grid
        )

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Average both."""
        replies = list(replies)
        share = min(1.0, sum(metric_of(reply, WEIGHT) for reply in replies))
        record, metrics = super().aggregate_train(server_round, replies)
        if record is None:
            return record, metrics
        means = to_arrays(record)
        self._control = {
            # What is no parameter has no gradient to correct, and its variate stays 0.
            name: (control + share * means.get(f"{CONTROL}{name}", 0.0)).astype(np.float32)
            for name, control in self._control.items()
        }
        return to_record({name: means[name] for name in self._control}, np.float32), metrics

    def state(self) -> Groups:
        """Give the mean control variate."""
        return {"control": copied(self._control)} if self._control else {}

    def restore(self, state: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
        """Take it back."""
        self._control = copied(state.get("control", {}))
