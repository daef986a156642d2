"""The linear support vector machine: scikit-learn's ``LinearSVC`` with the squared hinge.

One class against the rest, ``sum_i w_i max(0, 1 - y_i f_i)^2 + alpha |(w, b)|^2 / 2`` with the
intercept penalised as in liblinear (Fan et al., J. Machine Learning Research 9, 2008) and ``alpha
= alpha_per_image * training images``: ``C = 1 / alpha``. Balanced weights are global and the same
in every one-versus-rest problem: they are scikit-learn's ``sample_weight``, not its
``class_weight="balanced"``, which weighs the positive class only.
"""

from __future__ import annotations

from common.learners.base import Problem
from common.learners.composed import HeadLearner
from common.learners.iterative import IterativeSettings, make_iterative_step
from common.learners.linear_head import LinearHead
from common.learners.loss import SquaredHinge
from common.learners.penalty import Penalty
from common.learners.settings import Calibration
from common.learners.step import Step


class SvmSettings(IterativeSettings):
    """Settings of the support vector machine."""

    calibrate: Calibration = "temperature"


class SvmHead(LinearHead):
    """The support vector machine as an estimator.

    Parameters
    ----------
    alpha_per_image, class_weight, solver, tolerance, scale, pca, kernel, components, \
gamma, kernel_seed
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
        scale: str = "deviation",
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
        self.scale = scale
        self.pca = pca
        self.kernel = kernel
        self.components = components
        self.gamma = gamma
        self.kernel_seed = kernel_seed


def make_svm(problem: Problem, settings: SvmSettings) -> HeadLearner:
    """Make the learner of the support vector machine."""
    penalty = Penalty(settings.class_weight, intercept=True)

    def step(classes: int, width: int) -> Step:
        # Half of the squared hinge's curvature: about half of the images are within the margin.
        return make_iterative_step(settings, classes, width, SquaredHinge(), penalty, 1.0)

    return HeadLearner(problem, settings, step, SvmHead)
