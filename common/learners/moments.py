"""Moments: first and second of every feature, over all sites, in one round."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from common.learners.base import Arrays, ArraySpec, Problem, SiteData


class Moments:
    """The sums of x and of x squared.

    Features are float32, so that a square is exact in float64 and only the sum rounds.

    Parameters
    ----------
    problem : Problem
        The dimension.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def spec(self) -> Mapping[str, ArraySpec]:
        """Describe the sums: ``x_sum`` and ``x_square_sum``, float64, one element a feature."""
        shape = (self.problem.dimension,)
        return {"x_sum": ArraySpec(shape), "x_square_sum": ArraySpec(shape, minimum=0.0)}

    def sums(self, data: SiteData) -> Arrays:
        """Sum over a site's features."""
        x = data.x.astype(np.float64)
        return {"x_sum": x.sum(axis=0), "x_square_sum": np.square(x).sum(axis=0)}
