"""One Gram matrix of the raw features a class: sums from which every closed form follows.

They depend on nothing but a site's own images, not on weights or moments that all sites share. A
site's sums can therefore be kept, taken out of the total when it withdraws, and those of a new
site added, and the solution is the one that a refit would give. The price is their size: a matrix
a class instead of one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from common.errors import ContributionError
from common.learners.base import Arrays, ArraySpec, Contribution, Problem, SiteData, State
from common.learners.closed_form import GramSums, gram_sums
from common.learners.front import FrontLearner, Rows, affine_map
from common.learners.moments import ROWS
from common.learners.symmetric import check_positive, packed_length, unpack, unpack_upper

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Combine = Callable[[NDArray[np.float64]], GramSums]

STAGE = "class_gram"


@runtime_checkable
class FromClassGrams(Protocol):
    """A step that class weights and the weighted sums of transformed features determine."""

    def fit_class_grams(self, combine: Combine, fitted: Arrays) -> State:
        """Solve; `combine` gives the weighted sums for weights of shape (classes,)."""


class ClassGrams:
    """``sum x x'`` of each class, with a trailing 1 in x.

    Parameters
    ----------
    problem : Problem
        Classes and dimension.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.size = problem.dimension + 1

    def spec(self) -> Mapping[str, ArraySpec]:
        """Describe ``class_gram``, float64, shape (classes, packed upper triangle)."""
        shape = (len(self.problem.classes), packed_length(self.size))
        return {"class_gram": ArraySpec(shape)}

    def sums(self, data: SiteData) -> Arrays:
        """Sum over a site's images."""
        weight, packed = np.ones(1), []
        for label in range(len(self.problem.classes)):
            of_class = np.flatnonzero(data.y == label)
            rows = (
                _raw(data.x[of_class[start : start + ROWS]])
                for start in range(0, len(of_class), ROWS)
            )
            packed.append(gram_sums(rows, weight, self.size)["gram"][0])
        return {"class_gram": np.array(packed)}

    def verify(self, contribution: Contribution) -> None:
        """Refuse sums that no images can have.

        Raises
        ------
        ContributionError
            If a matrix has a negative eigenvalue beyond rounding, or the classes' numbers of
            images are not whole or do not add up to the count.
        """
        corners = contribution.arrays["class_gram"][:, -1]
        if (corners != np.rint(corners)).any() or (corners < 0).any():
            raise ContributionError("class_gram: a class's number of images is not whole")
        # As floats: a sum that overflows is no integer.
        if corners.sum() != contribution.count:
            raise ContributionError("class_gram: its classes do not add up to the images")
        for packed in contribution.arrays["class_gram"]:
            check_positive("class_gram", unpack_upper(packed, self.size))

    def fit(self, front: FrontLearner, step: FromClassGrams, total: Contribution) -> Arrays:
        """Fit the front and then the step; gives the front's arrays and the step's."""
        grams = total.arrays["class_gram"]
        counts = np.rint(grams[:, -1]).astype(np.int64)
        if np.count_nonzero(counts) < 2:
            raise ContributionError("fewer than two classes have training images")
        gram = unpack(grams.sum(axis=0), self.size)
        mean = gram[-1, :-1] / counts.sum()
        covariance = gram[:-1, :-1] / counts.sum()
        square = np.diag(covariance).copy()
        covariance -= np.outer(mean, mean)
        second = {
            "mean": mean,
            "variance": np.diag(covariance).copy(),
            "square": square,
            "covariance": covariance,
        }
        fitted = front.fit(counts, second)
        matrix = affine_map(fitted)

        def combine(weights: NDArray[np.float64]) -> GramSums:
            weighted = unpack(weights @ grams, self.size)
            sums = np.array([unpack(packed, self.size)[-1] for packed in grams])
            moved = matrix @ weighted @ matrix.T
            return GramSums((moved + moved.T) / 2, (weights[:, None] * sums) @ matrix.T)

        after = step.fit_class_grams(combine, fitted)
        return {**fitted, **after.arrays}


def _raw(x: NDArray[np.float32]) -> Rows:
    """Give features as they are, with a trailing 1, as rows of one class and fold."""
    zeros = np.zeros(len(x), dtype=np.intp)
    return Rows(np.column_stack([x.astype(np.float64), np.ones(len(x))]), zeros, zeros)
