"""Shared moments: Adam goes on from the mean of all sites' moments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from client.training.rules.base import LocalRule
from common.finetuning.strategies import MOMENTS

if TYPE_CHECKING:
    from torch import Tensor

    from client.training.rules.base import LocalRun


class SharedMoments(LocalRule):
    """The site of Chen, Li & Li (FODS 2020), with the first moment shared as the second is.

    The number of steps, by which Adam corrects the bias of moments that began at 0, is that of the
    phase's rounds so far. What does not leave the site keeps its own moments.
    """

    def begin(self, run: LocalRun) -> None:
        """As `LocalRule.begin`."""
        done = torch.tensor(float(run.place.position * run.steps))
        self._shared: list[str] = []
        for name, parameter in run.parameters.items():
            sent = {moment: run.companions.get(f"{moment}|{name}") for moment in MOMENTS}
            state = {moment: array.clone() for moment, array in sent.items() if array is not None}
            if state:
                run.optimizer.state[parameter] = {"step": done.clone(), **state}
                self._shared.append(name)

    def finish(self, run: LocalRun, loss: float) -> tuple[dict[str, Tensor], float]:
        """As `LocalRule.finish`."""
        moments: dict[str, Tensor] = {}
        for name in self._shared:
            state = run.optimizer.state[run.parameters[name]]
            for moment in MOMENTS:
                moments[f"{moment}|{name}"] = state[moment].detach().clone()
            run.forget_optimizer(name)
        return moments, loss
