"""Sharpness-aware steps whose radius grows along a phase."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from client.training.rules.base import LocalRule

if TYPE_CHECKING:
    from torch import Tensor

    from client.training.rules.base import LocalRun
    from common.finetuning.plan import Place
    from common.finetuning.strategies import SharpnessSettings

# Of Foret et al.'s code; no gradient, no perturbation.
_TINY = 1e-12


class Sharpness(LocalRule):
    r"""SAM's step (Foret et al., ICLR 2021, algorithm 1) at each site.

    That is FedSAM's site (Qu et al., ICML 2022), here with a radius that grows. The weights go to
    :math:`w + r \nabla L(w) / \lVert \nabla L(w) \rVert_2` (Foret et al., equation 2), over all
    trained arrays together. The optimiser takes the same batch's gradient there, but steps from
    :math:`w`. The radius :math:`r` is 0 in the phase's first round and rises along a line. A round
    of radius 0 is FedAvg's, with one pass a step.

    Statistics of norms are those of the first pass alone.

    Parameters
    ----------
    settings : SharpnessSettings
        The largest radius and the share of the phase until then.
    """

    def __init__(self, settings: SharpnessSettings) -> None:
        self._settings = settings

    def radius(self, place: Place) -> float:
        """Give a round's radius: the largest, times at most its place over the ramp's rounds."""
        rising = self._settings.ramp * place.phase.rounds
        share = min(1.0, place.position / rising) if rising else 1.0
        return self._settings.rho * share

    def take_step(self, run: LocalRun) -> Tensor:
        """As `LocalRule.take_step`; the loss is that before the weights are moved."""
        radius = self.radius(run.place)
        if not radius:
            return super().take_step(run)
        loss = run.backward()
        slopes = {name: p.grad for name, p in run.parameters.items() if p.grad is not None}
        norms = [torch.linalg.vector_norm(slope) for slope in slopes.values()]
        scale = radius / (float(torch.linalg.vector_norm(torch.stack(norms))) + _TINY)
        before = {name: run.parameters[name].detach().clone() for name in slopes}
        statistics = [(buffer, buffer.clone()) for buffer in run.network.buffers()]
        with torch.no_grad():
            for name, slope in slopes.items():
                run.parameters[name].add_(slope, alpha=scale)
        run.backward()
        with torch.no_grad():
            # Copied back, since subtracting would not round to the same weights.
            for name, weights in before.items():
                run.parameters[name].copy_(weights)
            for buffer, kept in statistics:
                buffer.copy_(kept)
        self.correct(run)
        run.apply()
        return loss
