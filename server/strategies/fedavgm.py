"""FedAvgM (Hsu, Qi & Brown, 2019, section 4.3): momentum at the coordinator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from flwr.serverapp.strategy import FedAvgM

from common.finetuning.strategies import MomentumSettings
from server.strategies.base import Aggregation, Groups, copied, to_arrays, to_record

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ServerMomentum(Aggregation, FedAvgM):
    """Flower's, whose state can be kept.

    Parameters
    ----------
    settings : MomentumSettings
        Learning rate and momentum.
    """

    def __init__(self, settings: MomentumSettings) -> None:
        super().__init__(
            server_learning_rate=settings.server_lr, server_momentum=settings.server_momentum
        )

    def state(self) -> Groups:
        """Give the weights that it goes on from, and the momentum."""
        if self.current_arrays is None:
            return {}
        groups = {"current": copied(to_arrays(self.current_arrays))}
        if self.momentum_vector is not None:
            names = groups["current"]
            groups["momentum"] = copied(dict(zip(names, self.momentum_vector, strict=True)))
        return groups

    def restore(self, state: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
        """Take them back."""
        current, momentum = state.get("current"), state.get("momentum")
        self.current_arrays = None if current is None else to_record(current, np.float32)
        self.momentum_vector = None if momentum is None else list(copied(momentum).values())
