"""The front of a head: standardise, project, map. One round of moments fits all of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import block_diag

from common.errors import ContributionError, SettingsError
from common.learners.base import Arrays, ArraySpec, Contribution, Problem, SiteData, State
from common.learners.class_counts import ClassCounts
from common.learners.kernel_map import apply_kernel_map, kernel_spec, make_kernel_map
from common.learners.moments import ROWS, Moments
from common.learners.pca import principal_components
from common.learners.settings import FrontSettings
from common.learners.standardisation import Standardisation, constant_features
from common.split import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Rows:
    """Some of a site's images, as a head sees them.

    Attributes
    ----------
    z : ndarray of float64, shape (n, width + 1), C order
        Transformed features, and a last column of ones.
    y : ndarray of intp, shape (n,)
        Labels.
    fold : ndarray of intp, shape (n,)
        Folds; all 0 where there are none.
    """

    z: NDArray[np.float64]
    y: NDArray[np.intp]
    fold: NDArray[np.intp]


class FrontLearner:
    """The learner of `StandardScaler`, and `PCA` or a kernel map after it: one round.

    Parameters
    ----------
    problem : Problem
        Classes and dimension.
    settings : FrontSettings
        What to do.

    Raises
    ------
    SettingsError
        If more components are asked for than there are features.
    """

    def __init__(self, problem: Problem, settings: FrontSettings) -> None:
        if settings.pca > problem.images:
            raise SettingsError(
                f"learner settings: pca={settings.pca}, but features have {problem.images} "
                "dimensions" + (" without metadata" if problem.metadata else "")
            )
        self.problem, self.settings = problem, settings
        self._counts = ClassCounts(problem)
        self._moments = Moments(problem, products=bool(settings.pca))

    @property
    def width(self) -> int:
        """Length of the transformed features."""
        if self.settings.kernel != "none":
            return self.settings.components
        return self._inputs

    @property
    def _inputs(self) -> int:
        """Length of what a kernel map takes: components, and metadata beside them."""
        k, problem = self.settings.pca, self.problem
        return k + problem.metadata if k else problem.dimension

    def start(self) -> State:
        """Give the state before the first round."""
        return State("moments", {})

    def fitted_spec(self) -> Mapping[str, ArraySpec]:
        """Describe the fitted arrays, ``class_count`` among them."""
        k, settings = self.settings.pca, self.settings
        spec = {
            "class_count": ArraySpec((len(self.problem.classes),), "int64", minimum=0),
            **Standardisation.spec(self.problem),
        }
        if k:
            spec["components"] = ArraySpec((self._inputs, self.problem.dimension))
            spec["explained_variance"] = ArraySpec((self._inputs,), minimum=0.0)
        if settings.kernel != "none":
            spec.update(kernel_spec(settings.kernel, self._inputs, settings.components))
        return spec

    def state_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Tell which arrays a state of this stage carries."""
        return {} if stage == "moments" else self.fitted_spec()

    def contribution_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Tell which arrays a contribution carries."""
        _only_moments(stage)
        return {**self._counts.spec(), **self._moments.spec()}

    def part(self, stage: str) -> Split:
        """Tell which part of the split a stage sums over."""
        _only_moments(stage)
        return Split.TRAIN

    def verify(self, stage: str, contribution: Contribution) -> None:
        """Refuse one site's sums that no images can have."""
        _only_moments(stage)
        self._moments.verify(contribution)

    def contribute(self, data: SiteData, state: State) -> Contribution:
        """Sum over a site's images."""
        _only_moments(state.stage)
        return Contribution(len(data), {**self._counts.sums(data), **self._moments.sums(data)})

    def update(self, state: State, total: Contribution) -> State:
        """Fit from the sums over all sites."""
        _only_moments(state.stage)
        if total.count == 0:
            raise ContributionError("no site has a training image")
        arrays = self.fit(total.arrays["class_count"], self._moments.second(total))
        return State("fitted", arrays, done=True)

    def fit(self, class_count: NDArray[np.int64], second: Arrays) -> Arrays:
        """Fit from class counts and pooled second moments (see `Moments.second`)."""
        problem = self.problem
        scaler = Standardisation.from_second(second, self.settings.scale)
        scaler = scaler.weighing_last(problem.metadata, problem.metadata_scale)
        arrays: dict[str, NDArray[Any]] = {"class_count": class_count, **scaler.arrays}
        # What sums leave of a constant feature's (co)variance is rounding, of any size.
        constant = constant_features(second)
        variance = np.where(constant, 0.0, 1.0)
        beside = second["variance"][problem.images :] / scaler.scale[problem.images :] ** 2
        variance[problem.images :] *= beside
        settings = self.settings
        if settings.pca:
            covariance = np.where(constant | constant[:, None], 0.0, second["covariance"])
            images = problem.images
            components, along = principal_components(
                covariance[:images, :images], scaler.first(images), settings.pca
            )
            # Metadata, some columns of which hardly vary, stand beside the components.
            components = block_diag(components, np.eye(problem.metadata))
            variance = np.concatenate([along, variance[images:]])
            arrays.update(components=components, explained_variance=variance)
        if settings.kernel != "none":
            rng = np.random.default_rng(settings.kernel_seed)
            arrays.update(
                make_kernel_map(settings.kernel, variance, settings.components, settings.gamma, rng)
            )
        return arrays

    def rows(self, data: SiteData, arrays: Arrays) -> Iterator[Rows]:
        """Transform a site's images, some thousand at a time."""
        for start in range(0, len(data), ROWS):
            part = slice(start, start + ROWS)
            y = data.y[part]
            fold = np.zeros(len(y), dtype=np.intp) if data.fold is None else data.fold[part]
            z = transform(arrays, data.x[part])
            yield Rows(np.column_stack([z, np.ones(len(z))]), y, fold)


def transform(arrays: Arrays, x: NDArray[Any]) -> NDArray[np.float64]:
    """Apply a fitted front to features of shape (n, dimension): float64, shape (n, width)."""
    z = Standardisation.from_arrays(arrays).apply(x)
    if "components" in arrays:
        z = z @ arrays["components"].T
    if "rff_weight" in arrays or "landmark" in arrays:
        z = apply_kernel_map(arrays, z)
    return z


def affine_map(arrays: Arrays) -> NDArray[np.float64]:
    """Give a front without a kernel map as a matrix.

    Returns
    -------
    ndarray of float64, shape (width + 1, dimension + 1)
        Takes features with a trailing 1 to transformed features with a trailing 1.
    """
    mean, scale = arrays["mean"], arrays["scale"]
    linear = np.diag(1.0 / scale)
    if "components" in arrays:
        linear = arrays["components"] / scale
    matrix = np.zeros((len(linear) + 1, len(mean) + 1))
    matrix[:-1, :-1] = linear
    matrix[:-1, -1] = -linear @ mean
    matrix[-1, -1] = 1.0
    return matrix


def _only_moments(stage: str) -> None:
    if stage != "moments":
        raise ContributionError(f"preprocessing has no stage {stage!r}")
