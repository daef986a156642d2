"""What travels between coordinator and sites in a round."""

from __future__ import annotations

from dataclasses import replace

from common.finetuning.network import (
    FineTunedNetwork,
    norm_names,
    specify,
    trained_tensors,
)
from common.finetuning.strategies import MOMENTS, strategy_kind
from common.learners.base import ArraySpec

# Means of squares.
_SQUARES = MOMENTS[1:]


class Travel:
    """Names and specifications.

    Parameters
    ----------
    network : FineTunedNetwork
        The network.
    depth : int
        Stages that are trained.
    norm : str
        As `TrainingSettings.norm`.
    strategy : str
        Key of `STRATEGIES`.

    Attributes
    ----------
    weights : dict of str to ArraySpec
        Trained arrays that leave a site.
    companions : dict of str to ArraySpec
        What goes beside them, as ``NAME|array``.
    start : dict of str to ArraySpec
        What goes down only: the exact head, where a site's own classifier starts from it.
    """

    def __init__(self, network: FineTunedNetwork, depth: int, norm: str, strategy: str) -> None:
        kind = strategy_kind(strategy)
        local = norm_names(network) if norm == "local" else frozenset()
        spec = specify(trained_tensors(network, depth, norm))
        self.weights: dict[str, ArraySpec] = {
            name: one for name, one in spec.items() if kind.travels(name) and name not in local
        }
        self.start: dict[str, ArraySpec] = {
            name: one for name, one in spec.items() if not kind.travels(name)
        }
        trained = {name for name, _ in network.named_parameters()}
        self.companions: dict[str, ArraySpec] = {
            f"{beside}|{name}": replace(one, minimum=0.0) if beside in _SQUARES else one
            for beside in kind.companions
            for name, one in self.weights.items()
            if name in trained
        }
