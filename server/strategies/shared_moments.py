"""Shared moments (Chen, Li & Li, FODS 2020): the sites' Adam goes on from its mean moments.

Where each site keeps moments of its own, sites divide the same gradient by different numbers, and
local adaptive steps need not converge. A site with few images has moments of much noise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid

from common.finetuning.strategies import MOMENTS
from server.strategies.base import Aggregation, Groups, Named, copied, to_arrays, to_record

if TYPE_CHECKING:
    from numpy.typing import NDArray


class SharedMoments(Aggregation):
    """Averages both moments as it averages weights.

    The paper averages the second moment and keeps the first at the site; here both travel, so that
    a site keeps nothing between rounds.
    """

    def __init__(self) -> None:
        super().__init__()
        self._moments: Groups = {}

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Send the mean moments beside the weights."""
        if not self._moments:
            zeros = {name: np.zeros_like(a) for name, a in to_arrays(arrays).items()}
            self._moments = dict.fromkeys(MOMENTS, zeros)
        beside: Named = {
            f"{moment}|{name}": array
            for moment, group in self._moments.items()
            for name, array in group.items()
        }
        both = ArrayRecord({**arrays, **to_record(beside, np.float32)})
        return super().configure_train(server_round, both, config, grid)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Average all three."""
        record, metrics = super().aggregate_train(server_round, replies)
        if record is None:
            return record, metrics
        means = to_arrays(record)
        self._moments = {
            # What is no parameter has no moments, and no site is sent the zeros that stand here.
            moment: {name: means.get(f"{moment}|{name}", zero) for name, zero in group.items()}
            for moment, group in self._moments.items()
        }
        names = self._moments[MOMENTS[0]]
        return to_record({name: means[name] for name in names}, np.float32), metrics

    def state(self) -> Groups:
        """Give the mean moments."""
        return {moment: copied(group) for moment, group in self._moments.items()}

    def restore(self, state: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
        """Take them back."""
        self._moments = {moment: copied(group) for moment, group in state.items()}
