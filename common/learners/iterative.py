"""What the iterative heads share: their settings, and the choice between their solvers."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from common.learners.lbfgs import LbfgsStep
from common.learners.loss import Loss
from common.learners.newton import NewtonStep
from common.learners.penalty import Penalty
from common.learners.settings import ClassWeight, HeadSettings
from common.learners.step import Step

# Above this width a Newton round's Hessian is larger than what a site should send.
NEWTON_WIDTH = 300


class IterativeSettings(HeadSettings):
    """Settings of logistic regression and of the support vector machine.

    Attributes
    ----------
    alpha_per_image : float
        The penalty, divided by the number of training images: ``C = 1 / (alpha_per_image n)``.
        Searched.
    class_weight : str
        ``balanced`` or ``none``.
    solver : str
        ``newton``, ``lbfgs``, or ``auto``: Newton up to 300 features.
    tolerance : float
        Relative length of a step that ends the rounds.
    """

    alpha_per_image: float = Field(0.1, gt=0.0, allow_inf_nan=False)
    class_weight: ClassWeight = "balanced"
    solver: Literal["auto", "newton", "lbfgs"] = "auto"
    tolerance: float = Field(1e-7, gt=0.0, le=0.1)

    @property
    def newton_for(self) -> str:
        """Name of the setting that only Newton's method knows; empty for none."""
        return "search" if self.search else ""

    @model_validator(mode="after")
    def _newton_where_needed(self) -> Self:
        if self.solver == "lbfgs" and self.newton_for:
            raise ValueError(f"solver=lbfgs has no {self.newton_for}; give pca=K and solver=newton")
        return self


def make_iterative_step(
    settings: IterativeSettings,
    classes: int,
    width: int,
    loss: Loss,
    penalty: Penalty,
    curvature: float,
) -> Step:
    """Make the step that the settings and the width ask for.

    Parameters
    ----------
    settings : IterativeSettings
        The head's.
    classes, width : int
        Of the head.
    loss, penalty : Loss, Penalty
        What is minimised.
    curvature : float
        The loss's typical second derivative by a score, for L-BFGS.
    """
    values, tolerance = settings.tried(settings.alpha_per_image), settings.tolerance
    newton = bool(settings.newton_for) or settings.solver == "newton"
    if newton or (settings.solver == "auto" and width <= NEWTON_WIDTH):
        return NewtonStep(classes, width, loss, penalty, values, settings.folds, tolerance)
    return LbfgsStep(classes, width, loss, penalty, values[0], curvature, tolerance)
