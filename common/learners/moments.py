"""Moments: first and second of the features, over all sites, in one round."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from common.errors import ContributionError
from common.learners.base import Arrays, ArraySpec, Contribution, Problem, SiteData
from common.learners.symmetric import (
    add_products,
    check_positive,
    pack,
    packed_length,
    unpack,
    unpack_upper,
)
from common.one_thread import one_blas_thread

# Rows taken to float64 at a time: bounds the memory of a site with many images.
ROWS = 4096


class Moments:
    """The sums of x, and of x squared or of all products of x.

    Features are float32, so that a product is exact in float64 and only the sum rounds.

    Parameters
    ----------
    problem : Problem
        The dimension.
    products : bool
        Whether to sum all products, which principal components need, or squares only.
    """

    def __init__(self, problem: Problem, *, products: bool = False) -> None:
        self.problem = problem
        self.products = products

    def spec(self) -> Mapping[str, ArraySpec]:
        """Describe the sums.

        ``x_sum``, and ``x_square_sum`` (one element a feature) or ``x_gram`` (a packed upper
        triangle), float64.
        """
        shape = (self.problem.dimension,)
        if self.products:
            packed = (packed_length(self.problem.dimension),)
            return {"x_sum": ArraySpec(shape), "x_gram": ArraySpec(packed)}
        return {"x_sum": ArraySpec(shape), "x_square_sum": ArraySpec(shape, minimum=0.0)}

    def sums(self, data: SiteData) -> Arrays:
        """Sum over a site's features."""
        dimension = self.problem.dimension
        x_sum, squares, gram = np.zeros(dimension), np.zeros(dimension), None
        with one_blas_thread():
            for start in range(0, max(len(data), 1), ROWS):
                x = data.x[start : start + ROWS].astype(np.float64, order="C")
                x_sum += x.sum(axis=0)
                if self.products:
                    gram = add_products(x, gram)
                else:
                    squares += np.square(x).sum(axis=0)
        if gram is None:
            return {"x_sum": x_sum, "x_square_sum": squares}
        return {"x_sum": x_sum, "x_gram": pack(gram)}

    def verify(self, contribution: Contribution) -> None:
        """Refuse sums that no images can have.

        Raises
        ------
        ContributionError
            If the second moments about the mean have a negative eigenvalue beyond rounding.
        """
        count, x_sum = contribution.count, contribution.arrays["x_sum"]
        if self.products:
            # With a row of ones beside the features, the matrix binds the sums to the products.
            size = self.problem.dimension
            gram = np.zeros((size + 1, size + 1), order="F")
            gram[:size, :size] = unpack_upper(contribution.arrays["x_gram"], size)
            gram[:size, size], gram[size, size] = x_sum, count
            check_positive("x_gram", gram)
            return
        # Cauchy and Schwarz: a sum of squares is at least the squared sum over the count.
        squares = contribution.arrays["x_square_sum"]
        with np.errstate(over="ignore"):
            bound = np.square(x_sum) / max(count, 1)
        if count == 0 and squares.any():
            raise ContributionError("x_square_sum: is not zero over no image")
        if (bound > squares * (1 + 1e-9) + np.finfo(np.float64).tiny).any():
            raise ContributionError("x_square_sum: smaller than the sums of the features allow")

    def second(self, total: Contribution) -> Arrays:
        """Give ``mean`` and ``covariance`` (full) or ``variance``, about the mean, population."""
        mean = total.arrays["x_sum"] / total.count
        if not self.products:
            square = total.arrays["x_square_sum"] / total.count
            return {"mean": mean, "variance": square - np.square(mean), "square": square}
        covariance = unpack(total.arrays["x_gram"] / total.count, self.problem.dimension)
        square = np.diag(covariance).copy()
        covariance -= np.outer(mean, mean)
        variance = np.diag(covariance).copy()
        return {"mean": mean, "variance": variance, "square": square, "covariance": covariance}
