"""Moments of every feature."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from common.learners.base import Problem, SiteData, check_arrays
from common.learners.moments import Moments


def test_sums_are_those_of_exact_arithmetic() -> None:
    x = np.random.default_rng(0).normal(3, 2, (50, 3)).astype(np.float32)
    moments = Moments(Problem(("a", "b"), 3))
    sums = moments.sums(SiteData(x, np.zeros(50, dtype=np.intp)))
    exact = [[Fraction(float(value)) for value in column] for column in x.T]
    np.testing.assert_allclose(sums["x_sum"], [float(sum(c)) for c in exact], rtol=1e-14)
    squares = [float(sum(value * value for value in c)) for c in exact]
    np.testing.assert_allclose(sums["x_square_sum"], squares, rtol=1e-14)
    check_arrays(sums, moments.spec(), 50)


def test_squares_of_float32_do_not_overflow() -> None:
    x = np.full((2, 1), 1e30, dtype=np.float32)
    sums = Moments(Problem(("a", "b"), 1)).sums(SiteData(x, np.zeros(2, dtype=np.intp)))
    np.testing.assert_allclose(sums["x_square_sum"], [2e60], rtol=1e-6)


def test_a_site_without_images_adds_zeros() -> None:
    moments = Moments(Problem(("a", "b"), 4))
    empty = SiteData(np.zeros((0, 4), dtype=np.float32), np.zeros(0, dtype=np.intp))
    sums = moments.sums(empty)
    assert sums["x_sum"].tolist() == sums["x_square_sum"].tolist() == [0.0] * 4
    check_arrays(sums, moments.spec(), 0)
