"""SCAFFOLD: control variates against the drift of sites."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from client.training.rules.base import LocalRule

if TYPE_CHECKING:
    from torch import Tensor

    from client.training.rules.base import LocalRun

CONTROL = "control|"


class Scaffold(LocalRule):
    r"""SCAFFOLD's site (Karimireddy et al., ICML 2020, algorithm 1).

    Each gradient gains :math:`c - c_i` (equation 3). The new :math:`c_i` is the mean of the raw
    gradients of the round's mini-batches. That is option II of equation 4, :math:`c_i - c + (x -
    y_i) / (K \eta)`, wherever the paper's plain SGD makes the steps: there :math:`x - y_i` is
    :math:`\eta` times the sum of all :math:`g + c - c_i`. It does not depend on the optimiser, on
    clipping, nor on weight decay, where equation 4 would.

    It sends the change of :math:`c_i`, and keeps :math:`c_i`. An array that is new in a phase has
    a :math:`c_i` of 0. What does not leave the site has none.
    """

    def begin(self, run: LocalRun) -> None:
        """As `LocalRule.begin`."""
        self._own: dict[str, Tensor] = {}
        self._drift: dict[str, Tensor] = {}
        self._sum: dict[str, Tensor] = {}
        for name in run.parameters:
            key = CONTROL + name
            if key not in run.companions:
                continue
            overall = run.companions[key]
            own = run.memory.get(key, torch.zeros_like(overall))
            self._own[name], self._drift[name] = own, overall - own
            self._sum[name] = torch.zeros_like(overall)

    def correct(self, run: LocalRun) -> None:
        """As `LocalRule.correct`."""
        for name, drift in self._drift.items():
            gradient = run.parameters[name].grad
            if gradient is not None:
                self._sum[name] += gradient
                gradient += drift

    def finish(self, run: LocalRun, loss: float) -> tuple[dict[str, Tensor], float]:
        """As `LocalRule.finish`."""
        changes: dict[str, Tensor] = {}
        for name, total in self._sum.items():
            new = total / run.steps
            run.kept[CONTROL + name] = new
            changes[CONTROL + name] = new - self._own[name]
        return changes, loss
