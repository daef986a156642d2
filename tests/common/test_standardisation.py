"""Standardisation from sums against scikit-learn's on pooled features."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from common.learners.base import Contribution, Problem, SiteData
from common.learners.checked import check_arrays
from common.learners.moments import Moments
from common.learners.standardisation import Standardisation
from common.learners.total import Total


def _over_sites(sites: list[NDArray[Any]], *, products: bool = False) -> Standardisation:
    problem = Problem(("a", "b"), sites[0].shape[1])
    moments, total = Moments(problem, products=products), Total()
    for x in sites:
        sums = moments.sums(SiteData(x, np.zeros(len(x), dtype=np.intp)))
        total.add(Contribution(len(x), sums))
    found = Standardisation.from_second(moments.second(total.value()))
    check_arrays(found.arrays, Standardisation.spec(problem))
    return found


@settings(deadline=None, max_examples=50)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(2, 60),
    sites=st.integers(1, 5),
    products=st.booleans(),
)
def test_moments_over_sites_give_scikit_learns_scaler(
    seed: int, n: int, sites: int, products: bool
) -> None:
    rng = np.random.default_rng(seed)
    spread, centre = 10.0 ** rng.uniform(-3, 3, 6), rng.uniform(-3, 3, 6)
    x = (rng.normal(size=(n, 6)) * spread + centre * spread).astype(np.float32)
    site_of = rng.integers(0, sites, n)
    found = _over_sites([x[site_of == site] for site in range(sites)], products=products)
    pooled = StandardScaler().fit(x.astype(np.float64))
    np.testing.assert_allclose(found.mean, pooled.mean_, rtol=1e-11, atol=1e-13 * spread.max())
    np.testing.assert_allclose(found.scale, pooled.scale_, rtol=1e-9)
    np.testing.assert_allclose(
        found.apply(x), pooled.transform(x.astype(np.float64)), rtol=1e-8, atol=1e-9
    )


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e-20, 1e20])
@pytest.mark.parametrize("n", [1, 2, 3, 1000])
@pytest.mark.parametrize("products", [False, True])
def test_a_constant_feature_has_scale_one_as_in_scikit_learn(
    value: float, n: int, products: bool
) -> None:
    x = np.full((n, 1), value, dtype=np.float32)
    found = _over_sites([x[: n // 3], x[n // 3 :]], products=products)
    assert StandardScaler().fit(x.astype(np.float64)).scale_.tolist() == [1.0]
    assert found.scale.tolist() == [1.0]


@pytest.mark.parametrize("products", [False, True])
def test_what_sums_leave_of_a_constants_variance_is_no_signal(products: bool) -> None:
    """Thirds and tenths have squares that round, to above zero for some numbers of images."""
    left = []
    for n in range(1, 300):
        x = np.tile([1 / 3, 0.1, -7e5 / 9], (n, 1))
        assert (
            _over_sites([x[: n // 3], x[n // 3 :]], products=products).scale.tolist() == [1.0] * 3
        )
        left.append(np.square(x).sum(axis=0) / n - np.square(x.sum(axis=0) / n))
    assert (np.array(left) > 0).any(axis=0).all()


@pytest.mark.parametrize("relative_spread", [1e-2, 1e-4, 3e-6])
def test_a_small_spread_is_still_a_signal(relative_spread: float) -> None:
    x = (1 + relative_spread * np.random.default_rng(0).normal(size=(500, 1))).astype(np.float32)
    pooled = StandardScaler().fit(x.astype(np.float64))
    found = _over_sites([x[:100], x[100:]])
    np.testing.assert_allclose(found.scale, pooled.scale_, rtol=1e-3)
    assert found.scale[0] < 1e-1


def test_a_spread_below_the_resolution_of_float32_counts_as_constant() -> None:
    x = np.ones((500, 1), dtype=np.float32)
    x[0] = np.nextafter(np.float32(1), np.float32(2))
    assert _over_sites([x]).scale.tolist() == [1.0]


def test_applying_leaves_the_features_alone() -> None:
    x = np.random.default_rng(0).normal(size=(5, 2))
    before = x.copy()
    Standardisation(np.ones(2), np.full(2, 2.0)).apply(x)
    np.testing.assert_array_equal(x, before)


def test_it_survives_a_state() -> None:
    before = Standardisation(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    after = Standardisation.from_arrays(before.arrays)
    np.testing.assert_array_equal(after.mean, before.mean)
    np.testing.assert_array_equal(after.scale, before.scale)
