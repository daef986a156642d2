"""What FedAdam, FedYogi and FedAdagrad share (Reddi et al., ICLR 2021): two moments to keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flwr.serverapp.strategy.fedopt import FedOpt

from server.strategies.base import Aggregation, Groups, copied

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Adaptive(Aggregation, FedOpt):
    """Keeps the moments of Flower's class that follows it."""

    def state(self) -> Groups:
        """Give both moments."""
        moments = {"m": self.m_t, "v": self.v_t}
        return {name: copied(group) for name, group in moments.items() if group}

    def restore(self, state: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
        """Take them back."""
        self.m_t = copied(state["m"]) if "m" in state else None
        self.v_t = copied(state["v"]) if "v" in state else None
