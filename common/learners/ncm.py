"""The nearest class mean: scikit-learn's ``NearestCentroid`` with the Euclidean distance.

With uniform priors the nearest mean of the transformed features wins; with empirical priors each
feature is scaled by its pooled within-class spread and the logarithm of the class's share is added
(Hastie, Tibshirani & Friedman, The Elements of Statistical Learning, equation 18.2), as
scikit-learn does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from common.errors import ContributionError, SettingsError
from common.learners.base import Arrays, ArraySpec, Contribution, Problem, State
from common.learners.closed_form import GramSums
from common.learners.composed import HeadLearner
from common.learners.front import Rows
from common.learners.linear_head import LinearHead
from common.learners.settings import Calibration, HeadSettings, Priors

if TYPE_CHECKING:
    from numpy.typing import NDArray


class NearestMeanSettings(HeadSettings):
    """Settings of the nearest class mean.

    Attributes
    ----------
    priors : str
        ``uniform`` or ``empirical``.
    """

    priors: Priors = "uniform"
    calibrate: Calibration = "temperature"


class NearestMeanStep:
    """One round: the sums of each class, and of all squares.

    Parameters
    ----------
    classes, width : int
        Of the head.
    priors : str
        ``uniform`` or ``empirical``.
    """

    stages: tuple[str, ...] = ("class_sum",)

    def __init__(self, classes: int, width: int, priors: str) -> None:
        self.classes, self.width, self.priors = classes, width, priors

    @property
    def most_rounds(self) -> int:
        """The rounds that it takes."""
        return len(self.stages)

    def start(self, fitted: Arrays) -> State:  # noqa: ARG002
        """Ask for the sums."""
        return State("class_sum", {})

    def state_spec(self, stage: str) -> Mapping[str, ArraySpec]:  # noqa: ARG002
        """Describe nothing: sites need only the front."""
        return {}

    def contribution_spec(self, stage: str) -> Mapping[str, ArraySpec]:  # noqa: ARG002
        """Describe ``class_sum`` and ``square_sum``."""
        return {
            "class_sum": ArraySpec((self.classes, self.width)),
            "square_sum": ArraySpec((self.width,), minimum=0.0),
        }

    def verify(self, stage: str, contribution: Contribution) -> None:  # noqa: ARG002
        """Refuse sums larger than their squares allow (Cauchy and Schwarz)."""
        squares, sums = contribution.arrays["square_sum"], contribution.arrays["class_sum"]
        if (np.square(sums.sum(axis=0)) > contribution.count * squares * (1 + 1e-9) + 1e-9).any():
            raise ContributionError("square_sum: smaller than the class sums allow")

    def contribute(self, rows: Iterable[Rows], state: State, fitted: Arrays) -> Arrays:  # noqa: ARG002
        """Sum over a site's images."""
        class_sum, squares = np.zeros((self.classes, self.width)), np.zeros(self.width)
        for part in rows:
            z = part.z[:, :-1]
            class_sum += (part.y == np.arange(self.classes)[:, None]).astype(np.float64) @ z
            squares += np.square(z).sum(axis=0)
        return {"class_sum": class_sum, "square_sum": squares}

    def update(self, state: State, total: Contribution, fitted: Arrays) -> State:  # noqa: ARG002
        """Give the means, as linear scores: twice the product less the squared length."""
        sums = total.arrays
        return self._fitted(sums["class_sum"], sums["square_sum"], fitted["class_count"])

    def fit_class_grams(
        self, combine: Callable[[NDArray[np.float64]], GramSums], fitted: Arrays
    ) -> State:
        """Solve from sums that are there already."""
        sums = combine(np.ones(self.classes))
        squares = np.diag(sums.gram)[:-1]
        return self._fitted(sums.class_sum[:, :-1], squares, fitted["class_count"])

    def _fitted(
        self,
        class_sum: NDArray[np.float64],
        squares: NDArray[np.float64],
        class_count: NDArray[np.int64],
    ) -> State:
        counts = class_count.astype(np.float64)
        present = counts > 0
        means = class_sum / np.maximum(counts, 1.0)[:, None]
        if self.priors == "uniform":
            coef, intercept = 2.0 * means, -np.square(means).sum(axis=1)
        else:
            scale = _within_scale(squares, counts, means)
            coef = 2.0 * means / scale
            share = np.log(np.where(present, counts, 1.0) / counts.sum())
            intercept = -(np.square(means) / scale).sum(axis=1) + 2.0 * share
        return State("fitted", {"coef": coef, "intercept": intercept}, done=True)


def _within_scale(
    squares: NDArray[np.float64], counts: NDArray[np.float64], means: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Give the squared within-class spread of each feature; 1 where there is none."""
    free = counts.sum() - np.count_nonzero(counts)
    if free < 1:
        raise ContributionError("priors=empirical needs more training images than classes")
    scatter = squares - counts @ np.square(means)
    # What remains of a feature that is constant within every class is rounding.
    constant = scatter <= 1e-13 * squares
    return np.where(constant, 1.0, scatter / free)


class NearestMeanHead(LinearHead):
    """The nearest class mean as an estimator.

    Parameters
    ----------
    priors, scale, pca, kernel, components, gamma, kernel_seed
        As in `NearestMeanSettings`.
    """

    settings_type = NearestMeanSettings

    def __init__(
        self,
        priors: str = "uniform",
        scale: str = "deviation",
        pca: int = 0,
        kernel: str = "none",
        components: int = 512,
        gamma: float = 0.0,
        kernel_seed: int = 0,
    ) -> None:
        self.priors = priors
        self.scale = scale
        self.pca = pca
        self.kernel = kernel
        self.components = components
        self.gamma = gamma
        self.kernel_seed = kernel_seed


def make_ncm(problem: Problem, settings: NearestMeanSettings) -> HeadLearner:
    """Make the learner of the nearest class mean: two rounds.

    Raises
    ------
    SettingsError
        If a search is asked for: there is nothing to choose.
    """
    if settings.search:
        raise SettingsError("learner settings: search: ncm has nothing to choose")

    def step(classes: int, width: int) -> NearestMeanStep:
        return NearestMeanStep(classes, width, settings.priors)

    return HeadLearner(problem, settings, step, NearestMeanHead)
