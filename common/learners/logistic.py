"""Multinomial logistic regression: scikit-learn's ``LogisticRegression``, L2, L1 or elastic net.

Minimises ``sum_i w_i log loss_i + alpha (l1_ratio |W|_1 + (1 - l1_ratio) |W|^2 / 2)`` with free
intercepts and ``alpha = alpha_per_image * training images``: scikit-learn's ``C = 1 / alpha``.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from common.learners.base import Problem
from common.learners.composed import HeadLearner
from common.learners.lbfgs import LbfgsStep
from common.learners.linear_head import LinearHead
from common.learners.loss import MultinomialLoss
from common.learners.newton import NewtonStep
from common.learners.penalty import Penalty
from common.learners.search import parse_search
from common.learners.settings import ClassWeight, HeadSettings
from common.learners.step import Step

# Above this width a Newton round's Hessian is larger than what a site should send.
NEWTON_WIDTH = 300


class LogisticSettings(HeadSettings):
    """Settings of logistic regression.

    Attributes
    ----------
    alpha_per_image : float
        The penalty, divided by the number of training images: ``C = 1 / (alpha_per_image n)``.
        Searched.
    class_weight : str
        ``balanced`` or ``none``.
    l1_ratio : float
        From 0 (L2) to 1 (L1); above 0 it needs Newton's method.
    solver : str
        ``newton``, ``lbfgs``, or ``auto``: Newton up to 300 features.
    tolerance : float
        Relative length of a step that ends the rounds.
    """

    alpha_per_image: float = Field(0.1, gt=0.0, allow_inf_nan=False)
    class_weight: ClassWeight = "balanced"
    l1_ratio: float = Field(0.0, ge=0.0, le=1.0)
    solver: Literal["auto", "newton", "lbfgs"] = "auto"
    tolerance: float = Field(1e-7, gt=0.0, le=0.1)

    @model_validator(mode="after")
    def _newton_where_needed(self) -> Self:
        if self.solver == "lbfgs" and (self.l1_ratio or self.search):
            raise ValueError("solver=lbfgs has neither l1_ratio nor search; give pca=K and newton")
        return self


class LogisticHead(LinearHead):
    """Logistic regression as an estimator.

    Parameters
    ----------
    alpha_per_image, class_weight, l1_ratio, solver, tolerance, pca, kernel, components, gamma, \
kernel_seed
        As in `LogisticSettings`.
    """

    settings_type = LogisticSettings

    def __init__(
        self,
        alpha_per_image: float = 0.1,
        class_weight: str = "balanced",
        l1_ratio: float = 0.0,
        solver: str = "auto",
        tolerance: float = 1e-7,
        pca: int = 0,
        kernel: str = "none",
        components: int = 512,
        gamma: float = 0.0,
        kernel_seed: int = 0,
    ) -> None:
        self.alpha_per_image = alpha_per_image
        self.class_weight = class_weight
        self.l1_ratio = l1_ratio
        self.solver = solver
        self.tolerance = tolerance
        self.pca = pca
        self.kernel = kernel
        self.components = components
        self.gamma = gamma
        self.kernel_seed = kernel_seed


def make_logistic(problem: Problem, settings: LogisticSettings) -> HeadLearner:
    """Make the learner of logistic regression."""
    penalty = Penalty(settings.class_weight, settings.l1_ratio, softmax=True)
    values = [settings.alpha_per_image]
    if settings.search:
        values = parse_search(settings.search, settings.search_seed).tolist()

    def step(classes: int, width: int) -> Step:
        newton = settings.solver == "newton" or settings.l1_ratio > 0 or bool(settings.search)
        if newton or (settings.solver == "auto" and width <= NEWTON_WIDTH):
            return NewtonStep(
                classes,
                width,
                MultinomialLoss(),
                penalty,
                values,
                settings.folds,
                settings.tolerance,
            )
        return LbfgsStep(
            classes,
            width,
            MultinomialLoss(),
            penalty,
            values[0],
            1.0 / classes,
            settings.tolerance,
        )

    return HeadLearner(problem, settings, step, LogisticHead)
