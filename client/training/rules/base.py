"""What a strategy may change in a site's local training; unchanged, it is FedAvg's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from torch import Tensor, nn, optim

if TYPE_CHECKING:
    from common.finetuning.network import FineTunedNetwork
    from common.finetuning.plan import Place
    from common.finetuning.settings import TrainingSettings

# What a site keeps of its own: arrays that stand for those of the same name at this site.
OWN = "own|"


class LocalRun(Protocol):
    """A round of training at a site, as a rule sees it.

    Attributes
    ----------
    network : FineTunedNetwork
        The network that is trained.
    place : Place
        Where the round lies in the plan.
    settings : TrainingSettings
        How sites train.
    parameters : dict of str to Parameter
        What the optimiser changes.
    received : dict of str to Tensor
        What came from the coordinator, and at the site's start of the round was its own: a copy
        of all that is trained, as it was before the first step.
    companions : dict of str to Tensor
        What came beside the weights, as ``NAME|array``.
    memory : dict of str to Tensor
        What the rule kept when this site's answer counted last.
    kept : dict of str to Tensor
        What the rule keeps of this round.
    optimizer : Optimizer
        Steps on the parameters' gradients.
    step, steps : int
        Number of the step, from 0, and how many there are.
    """

    network: FineTunedNetwork
    place: Place
    settings: TrainingSettings
    parameters: dict[str, nn.Parameter]
    received: dict[str, Tensor]
    companions: dict[str, Tensor]
    memory: dict[str, Tensor]
    kept: dict[str, Tensor]
    optimizer: optim.Optimizer
    step: int
    steps: int

    def backward(self) -> Tensor:
        """Clear the gradients, run the step's batch, and give its loss, detached.

        The rule's `extra_loss` is part of it. It may be called more than once a step.
        """

    def apply(self) -> None:
        """Clip the gradients and take the optimiser's step."""

    def train(self, correct: Callable[[], None]) -> float:
        """Take all steps of the round, on its batches, with `correct` called on each gradient.

        Gives the mean loss. The optimiser is a new one.
        """

    def forget_optimizer(self, name: str) -> None:
        """Keep nothing of a parameter's optimiser for the next round."""

    def sample_loss(self, images: int) -> float:
        """Give the mean loss over at most so many of the site's training images, without a step."""


class LocalRule:
    """FedAvg's site (McMahan et al., AISTATS 2017, algorithm 1), and what strategies override."""

    def begin(self, run: LocalRun) -> None:
        """Prepare, before the first step."""

    def extra_loss(self, run: LocalRun, images: Tensor, features: Tensor) -> Tensor | None:  # noqa: ARG002
        """Give what is added to the loss of a batch.

        Parameters
        ----------
        run : LocalRun
            The round.
        images : Tensor
            The batch as it enters the trained stages: normalised images, or maps at their start.
        features : Tensor, shape (b, dimension)
            Of the network that is trained.
        """
        return None

    def correct(self, run: LocalRun) -> None:
        """Change the gradients, before they are clipped."""

    def take_step(self, run: LocalRun) -> Tensor:
        """Take one step, and give its loss."""
        loss = run.backward()
        self.correct(run)
        run.apply()
        return loss

    def finish(self, run: LocalRun, loss: float) -> tuple[dict[str, Tensor], float]:  # noqa: ARG002
        """Give the companions to send, by ``NAME|array``, and the loss to report."""
        return {}, loss
