"""Moments of every feature."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import common.learners.moments
from common.errors import ContributionError
from common.learners.base import Contribution, Problem, SiteData
from common.learners.checked import check_arrays
from common.learners.moments import Moments
from common.learners.symmetric import pack, unpack

BOTH = pytest.mark.parametrize("products", [False, True])


def _data(x: NDArray[Any]) -> SiteData:
    return SiteData(x, np.zeros(len(x), dtype=np.intp))


def _moments(dimension: int, *, products: bool) -> Moments:
    return Moments(Problem(("a", "b"), dimension), products=products)


def _squares(sums: Any, dimension: int) -> Any:
    if "x_gram" in sums:
        return np.diag(unpack(sums["x_gram"], dimension))
    return sums["x_square_sum"]


@BOTH
def test_sums_are_those_of_exact_arithmetic(products: bool) -> None:
    x = np.random.default_rng(0).normal(3, 2, (50, 3)).astype(np.float32)
    moments = _moments(3, products=products)
    sums = moments.sums(_data(x))
    exact = [[Fraction(float(value)) for value in column] for column in x.T]
    np.testing.assert_allclose(sums["x_sum"], [float(sum(c)) for c in exact], rtol=1e-14)
    squares = [float(sum(value * value for value in c)) for c in exact]
    np.testing.assert_allclose(_squares(sums, 3), squares, rtol=1e-14)
    check_arrays(sums, moments.spec(), 50)


def test_products_are_those_of_every_pair_of_features() -> None:
    x = np.random.default_rng(0).normal(3, 2, (50, 4)).astype(np.float32)
    columns = [[Fraction(float(value)) for value in column] for column in x.T]
    expected = [
        [float(sum(a * b for a, b in zip(left, right, strict=True))) for right in columns]
        for left in columns
    ]
    found = unpack(_moments(4, products=True).sums(_data(x))["x_gram"], 4)
    np.testing.assert_allclose(found, expected, rtol=1e-14)


@BOTH
@pytest.mark.parametrize("n", [6, 7, 8, 20])
def test_rows_are_summed_some_at_a_time(
    monkeypatch: pytest.MonkeyPatch, products: bool, n: int
) -> None:
    monkeypatch.setattr(common.learners.moments, "ROWS", 7)
    x = np.random.default_rng(n).normal(size=(n, 3))
    sums = _moments(3, products=products).sums(_data(x))
    np.testing.assert_allclose(sums["x_sum"], x.sum(axis=0), atol=1e-13)
    np.testing.assert_allclose(_squares(sums, 3), np.square(x).sum(axis=0), rtol=1e-13)


@BOTH
def test_squares_of_float32_do_not_overflow(products: bool) -> None:
    x = np.full((2, 1), 1e30, dtype=np.float32)
    sums = _moments(1, products=products).sums(_data(x))
    np.testing.assert_allclose(_squares(sums, 1), [2e60], rtol=1e-6)


@BOTH
def test_a_site_without_images_adds_zeros(products: bool) -> None:
    moments = _moments(4, products=products)
    sums = moments.sums(_data(np.zeros((0, 4), dtype=np.float32)))
    assert not any(array.any() for array in sums.values())
    check_arrays(sums, moments.spec(), 0)
    moments.verify(Contribution(0, sums))


@BOTH
@settings(max_examples=30)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 50))
def test_second_moments_are_numpys(products: bool, seed: int, n: int) -> None:
    x = np.random.default_rng(seed).normal(2.0, 3.0, (n, 4))
    moments = _moments(4, products=products)
    second = moments.second(Contribution(n, moments.sums(_data(x))))
    np.testing.assert_allclose(second["mean"], x.mean(axis=0), atol=1e-13)
    np.testing.assert_allclose(second["variance"], x.var(axis=0), rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(second["square"], np.square(x).mean(axis=0), rtol=1e-12)
    assert ("covariance" in second) == products
    if products:
        expected = np.cov(x, rowvar=False, bias=True)
        np.testing.assert_allclose(second["covariance"], expected, atol=1e-11)


@BOTH
@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 60),
    dimension=st.integers(1, 30),
    kind=st.sampled_from(["noise", "constant", "equal", "far"]),
)
def test_sums_of_images_pass(products: bool, seed: int, n: int, dimension: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, dimension)) * 10.0 ** rng.uniform(-3, 3, dimension)
    if kind == "constant":
        x[:] = rng.normal(size=dimension)
    elif kind == "equal":
        x[:] = x[:, :1]
    elif kind == "far":
        x += 1e6
    moments = _moments(dimension, products=products)
    moments.verify(Contribution(n, moments.sums(_data(x.astype(np.float32)))))


@pytest.mark.parametrize("count", [1, 40])
def test_squares_smaller_than_the_sums_allow_are_refused(count: int) -> None:
    moments = _moments(2, products=False)
    # Cauchy and Schwarz: images with a sum of 6 have squares of at least 36 over their number.
    sums = {"x_sum": np.array([6.0, -6.0]), "x_square_sum": np.full(2, 36.0 / count)}
    moments.verify(Contribution(count, sums))
    for feature in range(2):
        less = sums["x_square_sum"].copy()
        less[feature] *= 1 - 1e-6
        with pytest.raises(ContributionError, match="x_square_sum: smaller"):
            moments.verify(Contribution(count, {**sums, "x_square_sum": less}))
    with pytest.raises(ContributionError, match="x_square_sum: smaller"):
        moments.verify(Contribution(count, {**sums, "x_sum": np.array([1e200, 0.0])}))


def test_products_that_no_images_have_are_refused() -> None:
    x = np.random.default_rng(0).normal(1.0, 1.0, (40, 5))
    moments = _moments(5, products=True)
    sums = moments.sums(_data(x))
    moments.verify(Contribution(40, sums))
    gram = unpack(sums["x_gram"], 5)
    values = np.linalg.eigvalsh(gram)
    forged = {
        "indefinite": {**sums, "x_gram": pack(gram - 1.01 * values[0] * np.eye(5))},
        "of other signs": {**sums, "x_gram": -sums["x_gram"]},
        # Every product may be right, and the sums too large for them.
        "sums of others": {**sums, "x_sum": 3.0 * sums["x_sum"]},
    }
    for arrays in forged.values():
        with pytest.raises(ContributionError, match="^x_gram: "):
            moments.verify(Contribution(40, arrays))
    with pytest.raises(ContributionError, match="^x_gram: "):
        moments.verify(Contribution(4, sums))
