"""q-FedAvg: a site reports the loss of the weights that it received."""

from __future__ import annotations

from typing import TYPE_CHECKING

from client.training.rules.base import LocalRule
from client.training.rules.parts import evaluating

if TYPE_CHECKING:
    from torch import Tensor

    from client.training.rules.base import LocalRun

IMAGES = 256


class Fair(LocalRule):
    """q-FedAvg's site (Li et al., ICLR 2020, algorithm 2).

    Training is FedAvg's. The loss to report is that at the received weights, the paper's
    ``F_k(w^t)``, over at most `IMAGES` of the site's training images, before any step and with
    norms in evaluation mode.
    """

    def begin(self, run: LocalRun) -> None:
        """As `LocalRule.begin`."""
        with evaluating(run.network):
            self._loss = run.sample_loss(IMAGES)

    def finish(self, run: LocalRun, loss: float) -> tuple[dict[str, Tensor], float]:  # noqa: ARG002
        """As `LocalRule.finish`."""
        return {}, self._loss
