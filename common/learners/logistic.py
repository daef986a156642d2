"""Multinomial logistic regression: scikit-learn's ``LogisticRegression``, L2, L1 or elastic net.

Minimises ``sum_i w_i log loss_i + alpha (l1_ratio |W|_1 + (1 - l1_ratio) |W|^2 / 2)`` with free
intercepts and ``alpha = alpha_per_image * training images``: scikit-learn's ``C = 1 / alpha``.
"""

from __future__ import annotations

from pydantic import Field

from common.learners.base import Problem
from common.learners.composed import HeadLearner
from common.learners.iterative import IterativeSettings, make_iterative_step
from common.learners.linear_head import LinearHead
from common.learners.loss import MultinomialLoss
from common.learners.penalty import Penalty
from common.learners.step import Step


class LogisticSettings(IterativeSettings):
    """Settings of logistic regression.

    Attributes
    ----------
    l1_ratio : float
        From 0 (L2) to 1 (L1); above 0 it needs Newton's method.
    """

    l1_ratio: float = Field(0.0, ge=0.0, le=1.0)

    @property
    def newton_for(self) -> str:
        """Name of the setting that only Newton's method knows; empty for none."""
        return "l1_ratio" if self.l1_ratio else super().newton_for


class LogisticHead(LinearHead):
    """Logistic regression as an estimator.

    Parameters
    ----------
    alpha_per_image, class_weight, l1_ratio, solver, tolerance, scale, pca, kernel, components, \
gamma, kernel_seed
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
        scale: str = "deviation",
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
        self.scale = scale
        self.pca = pca
        self.kernel = kernel
        self.components = components
        self.gamma = gamma
        self.kernel_seed = kernel_seed


def make_logistic(problem: Problem, settings: LogisticSettings) -> HeadLearner:
    """Make the learner of logistic regression."""
    penalty = Penalty(settings.class_weight, settings.l1_ratio, softmax=True)

    def step(classes: int, width: int) -> Step:
        # The softmax's curvature where all classes are equally probable.
        return make_iterative_step(
            settings, classes, width, MultinomialLoss(), penalty, 1.0 / classes
        )

    return HeadLearner(problem, settings, step, LogisticHead)
