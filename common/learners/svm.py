"""The linear support vector machine: scikit-learn's ``LinearSVC`` with the squared hinge.

One class against the rest, ``sum_i w_i max(0, 1 - y_i f_i)^2 + alpha |(w, b)|^2 / 2`` with the
intercept penalised as in liblinear (Fan et al., J. Machine Learning Research 9, 2008) and ``alpha
= alpha_per_image * training images``: ``C = 1 / alpha``. Balanced weights are global and the same
in every one-versus-rest problem: they are scikit-learn's ``sample_weight``, not its
``class_weight="balanced"``, which weighs the positive class only.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from common.learners.base import Problem
from common.learners.composed import HeadLearner
from common.learners.lbfgs import LbfgsStep
from common.learners.linear_head import LinearHead
from common.learners.logistic import NEWTON_WIDTH
from common.learners.loss import SquaredHinge
from common.learners.newton import NewtonStep
from common.learners.penalty import Penalty
from common.learners.search import parse_search
from common.learners.settings import Calibration, ClassWeight, HeadSettings
from common.learners.step import Step


class SvmSettings(HeadSettings):
    """Settings of the support vector machine.

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
    calibrate: Calibration = "temperature"

    @model_validator(mode="after")
    def _newton_where_needed(self) -> Self:
        if self.solver == "lbfgs" and self.search:
            raise ValueError("solver=lbfgs has no search; give pca=K and newton")
        return self


class SvmHead(LinearHead):
    """The support vector machine as an estimator.

    Parameters
    ----------
    alpha_per_image, class_weight, solver, tolerance, pca, kernel, components, gamma, kernel_seed
        As in `SvmSettings`.
    """

    settings_type = SvmSettings
    symmetric_pair = True

    def __init__(
        self,
        alpha_per_image: float = 0.1,
        class_weight: str = "balanced",
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
        self.solver = solver
        self.tolerance = tolerance
        self.pca = pca
        self.kernel = kernel
        self.components = components
        self.gamma = gamma
        self.kernel_seed = kernel_seed


def make_svm(problem: Problem, settings: SvmSettings) -> HeadLearner:
    """Make the learner of the support vector machine."""
    penalty = Penalty(settings.class_weight, intercept=True)
    values = [settings.alpha_per_image]
    if settings.search:
        values = parse_search(settings.search, settings.search_seed).tolist()

    def step(classes: int, width: int) -> Step:
        newton = settings.solver == "newton" or bool(settings.search)
        if newton or (settings.solver == "auto" and width <= NEWTON_WIDTH):
            return NewtonStep(
                classes,
                width,
                SquaredHinge(),
                penalty,
                values,
                settings.folds,
                settings.tolerance,
            )
        return LbfgsStep(
            classes, width, SquaredHinge(), penalty, values[0], 1.0, settings.tolerance
        )

    return HeadLearner(problem, settings, step, SvmHead)
