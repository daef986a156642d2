"""Linear discriminant analysis with a shrunk covariance, from one Gram matrix.

scikit-learn's ``LinearDiscriminantAnalysis(solver="lsqr")``: class means m_k, the within-class
covariance S shrunk towards a multiple of the identity, scores ``m_k'S^-1 z - m_k'S^-1 m_k / 2 +
log prior_k``. The shrinkage is fixed, or Ledoit and Wolf's (J. Multivariate Analysis 88, 2004) for
the pooled within-class covariance, which needs one more scalar sum: of the fourth powers of the
images' distances to their class means.

Quadratic discriminant analysis is out. It needs each class's own covariance, and a class of a
hundred images does not determine one in a thousand dimensions: the inverse would be the
regulariser's, and the Gram matrix of a rare class at one site would be little else than its images.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import BeforeValidator

from common.errors import ContributionError, SettingsError
from common.learners.base import Arrays, ArraySpec, Contribution, Problem, State
from common.learners.class_counts import class_weights
from common.learners.closed_form import ClosedFormStep, GramSums
from common.learners.composed import HeadLearner
from common.learners.front import Rows
from common.learners.linear_head import LinearHead
from common.learners.search import parse_search
from common.learners.settings import HeadSettings, Priors
from common.learners.symmetric import solve_positive, unpack

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.learners.closed_form import Line

LEDOIT_WOLF = "ledoit-wolf"


def _shrinkage(value: object) -> object:
    if value == LEDOIT_WOLF:
        return value
    try:
        number = float(str(value))
    except ValueError:
        number = -1.0
    if not 0.0 <= number <= 1.0:
        raise ValueError(f"give {LEDOIT_WOLF} or a number from 0 to 1")
    return number


class LdaSettings(HeadSettings):
    """Settings of linear discriminant analysis.

    Attributes
    ----------
    shrinkage : float or str
        From 0 (none) to 1 (identity), or ``ledoit-wolf``. Searched.
    priors : str
        ``empirical`` or ``uniform``.
    """

    shrinkage: Annotated[float | str, BeforeValidator(_shrinkage)] = LEDOIT_WOLF
    priors: Priors = "empirical"


class LdaSolver:
    """Means and a shrunk covariance.

    Parameters
    ----------
    priors : str
        ``empirical`` or ``uniform``.
    """

    def __init__(self, priors: str) -> None:
        self.priors = priors

    def weights(self, class_count: NDArray[np.int64]) -> NDArray[np.float64]:
        """Weigh images so that each class's covariance counts by its prior; their sum is n."""
        return class_weights(class_count, "none" if self.priors == "empirical" else "balanced")

    def solve(
        self,
        sums: GramSums,
        values: Sequence[float],
        images: int,  # noqa: ARG002
    ) -> tuple[list[Line], tuple[str, ...]]:
        """Solve for each shrinkage."""
        mass, means, covariance = self.moments(sums)
        target = np.trace(covariance) / len(covariance)
        share = np.log(np.where(mass > 0, mass, 1.0) / mass.sum())
        lines: list[Line] = []
        notes: list[str] = []
        for value in values:
            shrunk = (1.0 - value) * covariance
            shrunk[np.diag_indices(len(shrunk))] += value * target
            solved, said = solve_positive(shrunk, means.T)
            coef = solved.T
            lines.append((coef, share - 0.5 * (coef * means).sum(axis=1)))
            notes.extend(said)
        return lines, tuple(note.replace("alpha_per_image", "shrinkage") for note in notes)

    def moments(
        self, sums: GramSums
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Give class weights, class means and the within-class covariance."""
        mass = sums.class_sum[:, -1]
        total = mass.sum()
        if not total > 0:
            raise ContributionError("no images can have the sums of the sites: they weigh nothing")
        means = sums.class_sum[:, :-1] / np.where(mass > 0, mass, 1.0)[:, None]
        scatter = sums.gram[:-1, :-1] - (mass[:, None] * means).T @ means
        return mass, means, scatter / total


class LedoitWolfStep(ClosedFormStep):
    """The closed form with one more round, for Ledoit and Wolf's shrinkage."""

    def __init__(self, classes: int, width: int, solver: LdaSolver) -> None:
        super().__init__(classes, width, solver, [0.0])
        self.lda = solver
        self.stages = ("gram", "fourth")

    def state_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Describe the classes' weights, and then their means beside them."""
        weight = {"class_weight": ArraySpec((self.classes,), minimum=0.0)}
        if stage == "gram":
            return weight
        return {**weight, "class_mean": ArraySpec((self.classes, self.width))}

    def contribution_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Describe the sums, or ``fourth``, a scalar."""
        if stage == "gram":
            return super().contribution_spec(stage)
        return {"fourth": ArraySpec((1,), minimum=0.0)}

    def contribute(self, rows: Iterable[Rows], state: State, fitted: Arrays) -> Arrays:
        """Sum over a site's images."""
        if state.stage == "gram":
            return super().contribute(rows, state, fitted)
        fourth = np.zeros(1)
        for part in rows:
            centred = part.z[:, :-1] - state.arrays["class_mean"][part.y]
            squares = state.arrays["class_weight"][part.y] * np.square(centred).sum(axis=1)
            fourth += np.square(squares).sum()
        return {"fourth": fourth}

    def update(self, state: State, total: Contribution, fitted: Arrays) -> State:
        """Ask for the fourth powers; then choose the shrinkage and solve."""
        images = int(fitted["class_count"].sum())
        if state.stage == "gram":
            memory = {name: total.arrays[name][0] for name in ("gram", "class_sum")}
            sums = GramSums(unpack(memory["gram"], self.size), memory["class_sum"])
            mean = self.lda.moments(sums)[1]
            arrays = {"class_weight": state.arrays["class_weight"], "class_mean": mean}
            return State("fourth", arrays, False, memory)
        sums = GramSums(unpack(state.memory["gram"], self.size), state.memory["class_sum"])
        covariance = self.lda.moments(sums)[2]
        shrinkage = ledoit_wolf(covariance, float(total.arrays["fourth"][0]), images)
        return self._fitted(sums, shrinkage, images, {})


def ledoit_wolf(covariance: NDArray[np.float64], fourth: float, images: int) -> float:
    """Give the optimal shrinkage (Ledoit & Wolf, 2004, section 3.3), from 0 to 1.

    Parameters
    ----------
    covariance : ndarray of float64, shape (p, p)
        Over centred images, population.
    fourth : float
        Sum over images of the fourth power of their distance to the centre.
    images : int
        How many.
    """
    size = len(covariance)
    squares = float(np.square(covariance).sum())
    target = float(np.trace(covariance)) / size
    spread = squares / size - target**2
    noise = (fourth / images - squares) / (size * images)
    noise = min(noise, spread)
    return noise / spread if noise > 0 and spread > 0 else 0.0


class LdaHead(LinearHead):
    """Linear discriminant analysis as an estimator.

    Parameters
    ----------
    shrinkage, priors, scale, pca, kernel, components, gamma, kernel_seed
        As in `LdaSettings`.
    """

    settings_type = LdaSettings

    def __init__(
        self,
        shrinkage: float | str = LEDOIT_WOLF,
        priors: str = "empirical",
        scale: str = "deviation",
        pca: int = 0,
        kernel: str = "none",
        components: int = 512,
        gamma: float = 0.0,
        kernel_seed: int = 0,
    ) -> None:
        self.shrinkage = shrinkage
        self.priors = priors
        self.scale = scale
        self.pca = pca
        self.kernel = kernel
        self.components = components
        self.gamma = gamma
        self.kernel_seed = kernel_seed


def make_lda(problem: Problem, settings: LdaSettings) -> HeadLearner:
    """Make the learner: two rounds, three with Ledoit and Wolf's shrinkage or a search.

    Raises
    ------
    SettingsError
        If a search goes beyond 1, or is asked for with uniform priors: the covariance of a fold
        would need each class's own.
    """
    solver = LdaSolver(settings.priors)
    values = [settings.shrinkage]
    if settings.search:
        values = parse_search(settings.search, settings.search_seed).tolist()
        if float(values[0]) > 1.0:
            raise SettingsError("learner settings: search: shrinkage goes from 0 to 1")
        if settings.priors != "empirical":
            raise SettingsError("learner settings: search of the shrinkage needs empirical priors")

    if settings.ledger and values == [LEDOIT_WOLF]:
        # Distances to class means depend on all sites: none can send their fourth powers alone.
        raise SettingsError("learner settings: ledger needs a fixed shrinkage, as shrinkage=0.1")

    def step(classes: int, width: int) -> ClosedFormStep:
        if values == [LEDOIT_WOLF]:
            return LedoitWolfStep(classes, width, solver)
        return ClosedFormStep(classes, width, solver, [float(v) for v in values], settings.folds)

    return HeadLearner(problem, settings, step, LdaHead)
