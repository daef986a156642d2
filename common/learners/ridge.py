"""The ridge head: least squares on targets of -1 and +1, exact from one weighted Gram matrix.

Minimises ``sum_i w_i ||y_i - W'z_i - b||^2 + alpha ||W||^2`` over transformed features z, with b
free and w_i by the *global* class counts: scikit-learn's ``RidgeClassifier`` behind its
``StandardScaler``. Only the weighted normal equations are needed (Hoerl & Kennard, Technometrics
12, 1970), and those are sums; one Gram matrix gives the whole regularisation path.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from common.errors import ContributionError
from common.learners.base import Problem
from common.learners.class_counts import class_weights
from common.learners.closed_form import ClosedFormStep, GramSums
from common.learners.composed import HeadLearner
from common.learners.linear_head import LinearHead
from common.learners.settings import Calibration, ClassWeight, HeadSettings
from common.learners.symmetric import solve_positive

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.learners.closed_form import Line


class RidgeSettings(HeadSettings):
    """Settings of the ridge head.

    Attributes
    ----------
    alpha_per_image : float
        The penalty ``alpha``, divided by the number of training images. Searched.
    class_weight : str
        ``balanced`` or ``none``.
    """

    alpha_per_image: float = Field(1.0, gt=0.0, allow_inf_nan=False)
    class_weight: ClassWeight = "balanced"
    calibrate: Calibration = "temperature"


class RidgeSolver:
    """The weighted normal equations.

    Parameters
    ----------
    class_weight : str
        ``balanced`` or ``none``.
    """

    def __init__(self, class_weight: str) -> None:
        self.class_weight = class_weight

    def weights(self, class_count: NDArray[np.int64]) -> NDArray[np.float64]:
        """Give each class's weight."""
        return class_weights(class_count, self.class_weight)

    def solve(
        self, sums: GramSums, values: Sequence[float], images: int
    ) -> tuple[list[Line], tuple[str, ...]]:
        """Solve for each penalty an image, centred by the weighted mean so that b is free."""
        class_mass, class_sum = sums.class_sum[:, -1], sums.class_sum[:, :-1]
        mass, z_sum = class_mass.sum(), class_sum.sum(axis=0)
        if not mass > 0:
            raise ContributionError("no images can have the sums of the sites: they weigh nothing")
        z_mean, y_mean = z_sum / mass, 2.0 * class_mass / mass - 1.0
        # Targets are +1 for the class and -1 for the others.
        right = 2.0 * class_sum.T - z_sum[:, None] - mass * np.outer(z_mean, y_mean)
        centred = sums.gram[:-1, :-1] - mass * np.outer(z_mean, z_mean)
        lines: list[Line] = []
        notes: list[str] = []
        for value in values:
            matrix = centred + np.diag(np.full(len(centred), value * images))
            coef, said = solve_positive(matrix, right)
            lines.append((coef.T, y_mean - coef.T @ z_mean))
            notes.extend(said)
        return lines, tuple(dict.fromkeys(notes))


class RidgeHead(LinearHead):
    """The ridge learner as an estimator.

    Parameters
    ----------
    alpha_per_image, class_weight, scale, pca, kernel, components, gamma, kernel_seed
        As in `RidgeSettings`.
    """

    settings_type = RidgeSettings
    symmetric_pair = True

    def __init__(
        self,
        alpha_per_image: float = 1.0,
        class_weight: str = "balanced",
        scale: str = "deviation",
        pca: int = 0,
        kernel: str = "none",
        components: int = 512,
        gamma: float = 0.0,
        kernel_seed: int = 0,
    ) -> None:
        self.alpha_per_image = alpha_per_image
        self.class_weight = class_weight
        self.scale = scale
        self.pca = pca
        self.kernel = kernel
        self.components = components
        self.gamma = gamma
        self.kernel_seed = kernel_seed


def make_ridge(problem: Problem, settings: RidgeSettings) -> HeadLearner:
    """Make the ridge learner: two rounds, three where it chooses its penalty."""
    solver = RidgeSolver(settings.class_weight)
    values = settings.tried(settings.alpha_per_image)

    def step(classes: int, width: int) -> ClosedFormStep:
        return ClosedFormStep(classes, width, solver, values, settings.folds)

    return HeadLearner(problem, settings, step, RidgeHead)
