"""The ridge head: least squares on targets of -1 and +1, balanced classes, exact in two rounds.

Minimises ``sum_i w_i ||y_i - W'z_i - b||^2 + alpha ||W||^2`` over standardised features z, with b
free and w_i balanced over the *global* class counts: scikit-learn's
``RidgeClassifier(class_weight="balanced")`` behind its ``StandardScaler``. Only the weighted
normal equations are needed (Hoerl & Kennard, Technometrics 12, 1970), and those are sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import LinAlgError, solve
from scipy.linalg.blas import dsyrk
from scipy.linalg.lapack import dtpttr, dtrttp

from common.errors import ContributionError, SettingsError
from common.learners.base import (
    ArraySpec,
    Contribution,
    Problem,
    SiteData,
    State,
    check_arrays,
)
from common.learners.class_counts import ClassCounts, balanced_weights
from common.learners.linear_head import LinearHead
from common.learners.moments import Moments
from common.learners.standardisation import Standardisation
from common.one_thread import one_blas_thread

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Rows standardised at a time: bounds the memory of a site with many images.
_ROWS = 4096


class RidgeLearner:
    """Two rounds: class counts and moments, then one weighted Gram matrix.

    Parameters
    ----------
    problem : Problem
        Classes and dimension.
    alpha_per_image : float
        The penalty ``alpha``, divided by the number of training images.

    Raises
    ------
    SettingsError
        If the penalty is not positive.
    """

    def __init__(self, problem: Problem, alpha_per_image: float = 1.0) -> None:
        if not (np.isfinite(alpha_per_image) and alpha_per_image > 0):
            raise SettingsError(f"alpha_per_image must be positive, not {alpha_per_image}")
        self.problem = problem
        self.alpha_per_image = alpha_per_image
        self._counts = ClassCounts(problem)
        self._moments = Moments(problem)

    def start(self) -> State:
        """Give the state before the first round."""
        return State("moments", {})

    def state_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Tell which arrays a state of this stage carries."""
        classes, dimension = len(self.problem.classes), self.problem.dimension
        scaler = Standardisation.spec(self.problem)
        match stage:
            case "moments":
                return {}
            case "gram":
                weight = ArraySpec((classes,), minimum=0.0)
                return {"class_weight": weight, **scaler}
            case "fitted":
                return {
                    "class_count": ArraySpec((classes,), "int64", minimum=0),
                    "coef": ArraySpec((classes, dimension)),
                    "intercept": ArraySpec((classes,)),
                    **scaler,
                }
        raise ContributionError(f"the ridge learner has no stage {stage!r}")

    def contribution_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Tell which arrays a contribution to this stage carries."""
        classes, dimension = len(self.problem.classes), self.problem.dimension
        if stage == "moments":
            return {**self._counts.spec(), **self._moments.spec()}
        if stage == "gram":
            return {
                "gram": ArraySpec((dimension * (dimension + 1) // 2,)),
                "class_sum": ArraySpec((classes, dimension)),
                **self._counts.spec(),
            }
        raise ContributionError(f"the ridge learner has no sums for stage {stage!r}")

    def contribute(self, data: SiteData, state: State) -> Contribution:
        """Sum over a site's images.

        In stage ``"gram"``: the upper triangle of ``sum w z z'``, packed by columns, and
        ``sum w z`` of each class.
        """
        if state.stage == "moments":
            sums = {**self._counts.sums(data), **self._moments.sums(data)}
            return Contribution(len(data), sums)
        scaler = Standardisation.from_arrays(state.arrays)
        weights = state.arrays["class_weight"][data.y]
        classes, dimension = len(self.problem.classes), self.problem.dimension
        gram = np.zeros((dimension, dimension), order="F")
        class_sum = np.zeros((classes, dimension))
        with one_blas_thread():
            for start in range(0, len(data), _ROWS):
                rows = slice(start, start + _ROWS)
                root = np.sqrt(weights[rows])
                z = scaler.apply(data.x[rows]) * root[:, None]
                # z is in C order, so that its transpose is the Fortran matrix that BLAS wants.
                gram = dsyrk(1.0, z.T, beta=1.0, c=gram, overwrite_c=True)
                member = data.y[rows] == np.arange(classes)[:, None]
                class_sum += (member * root) @ z
        packed, _ = dtrttp(gram, uplo="U")
        arrays = {"gram": packed, "class_sum": class_sum, **self._counts.sums(data)}
        return Contribution(len(data), arrays)

    def update(self, state: State, total: Contribution) -> State:
        """Take one step from the sums over all sites.

        Raises
        ------
        ContributionError
            If fewer than two classes have training images, or no images can have these sums.
        """
        with np.errstate(all="ignore"):
            after = self._after(state, total)
        try:
            check_arrays(after.arrays, self.state_spec(after.stage))
        except ContributionError as error:
            raise ContributionError(f"no images can have the sums of the sites: {error}") from error
        return after

    def _after(self, state: State, total: Contribution) -> State:
        if state.stage == "moments":
            counts = total.arrays["class_count"]
            if np.count_nonzero(counts) < 2:
                raise ContributionError("fewer than two classes have training images")
            scaler = Standardisation.from_moments(total)
            return State("gram", {"class_weight": balanced_weights(counts), **scaler.arrays})
        coef, intercept = self._solve(state, total)
        scaler = Standardisation.from_arrays(state.arrays)
        fitted = {"class_count": total.arrays["class_count"], "coef": coef, "intercept": intercept}
        return State("fitted", {**fitted, **scaler.arrays}, done=True)

    def _solve(
        self, state: State, total: Contribution
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Solve the normal equations, centred by the weighted mean so that b is free."""
        dimension = self.problem.dimension
        class_sum = total.arrays["class_sum"]
        class_mass = state.arrays["class_weight"] * total.arrays["class_count"]
        mass, z_sum = class_mass.sum(), class_sum.sum(axis=0)
        z_mean, y_mean = z_sum / mass, 2.0 * class_mass / mass - 1.0
        # Targets are +1 for the class and -1 for the others.
        zy = 2.0 * class_sum.T - z_sum[:, None]
        alpha = self.alpha_per_image * total.count
        with one_blas_thread():
            upper, _ = dtpttr(dimension, total.arrays["gram"], uplo="U")
            upper -= mass * np.outer(z_mean, z_mean)
            upper[np.diag_indices(dimension)] += alpha
            right = zy - mass * np.outer(z_mean, y_mean)
            try:
                coef = solve(upper, right, assume_a="pos", overwrite_a=True, overwrite_b=True).T
            except (LinAlgError, ValueError) as error:
                raise ContributionError(
                    f"no images can have the sums of the sites: {error}"
                ) from error
            intercept = y_mean - coef @ z_mean
        return np.ascontiguousarray(coef), intercept

    def head(self, state: State) -> RidgeHead:
        """Make the fitted classifier over the classes that have training images."""
        head = RidgeHead(alpha_per_image=self.alpha_per_image)
        return head.set_fitted(state.arrays, np.array(self.problem.classes))


class RidgeHead(LinearHead):
    """The ridge learner as an estimator.

    Parameters
    ----------
    alpha_per_image : float
        The penalty, divided by the number of training images.
    """

    def __init__(self, alpha_per_image: float = 1.0) -> None:
        self.alpha_per_image = alpha_per_image

    def make_learner(self, problem: Problem) -> RidgeLearner:
        """Make the learner that fits this head."""
        return RidgeLearner(problem, self.alpha_per_image)
