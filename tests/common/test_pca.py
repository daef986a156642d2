"""Principal components against scikit-learn's, signs included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from common.errors import ContributionError
from common.learners.pca import principal_components
from common.learners.standardisation import Standardisation


def _found(x: NDArray[np.float64], k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    scaler = Standardisation(x.mean(axis=0), x.std(axis=0))
    return principal_components(np.atleast_2d(np.cov(x, rowvar=False, bias=True)), scaler, k)


def _mixed(rng: np.random.Generator, n: int, dimension: int) -> NDArray[np.float64]:
    x: NDArray[np.float64] = rng.normal(size=(n, dimension)) @ rng.normal(
        size=(dimension, dimension)
    )
    return x * 10.0 ** rng.uniform(-2, 2, dimension)


@settings(max_examples=100)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(4, 60),
    dimension=st.integers(1, 12),
    data=st.data(),
)
def test_components_and_variances_are_scikit_learns(
    seed: int, n: int, dimension: int, data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, min(n - 2, dimension)))
    x = _mixed(np.random.default_rng(seed), n, dimension)
    pca = PCA(svd_solver="full").fit(StandardScaler().fit_transform(x))
    variances = np.append(pca.explained_variance_, 0.0)
    # Components of nearly equal variance, and signs of nearly equal elements, are arbitrary.
    assume(np.diff(-variances)[:k].min() > 1e-3 * variances[0])
    ordered = np.sort(np.abs(pca.components_[:k]), axis=1)
    assume(dimension == 1 or (ordered[:, -1] - ordered[:, -2]).min() > 1e-6)
    components, variance = _found(x, k)
    assert components.shape == (k, dimension)
    np.testing.assert_allclose(components, pca.components_[:k], rtol=0, atol=1e-9)
    # scikit-learn divides by n - 1.
    expected = pca.explained_variance_[:k] * (n - 1) / n
    np.testing.assert_allclose(variance, expected, rtol=1e-9)


@pytest.mark.parametrize(("n", "rank"), [(5, 4), (3, 2), (1000, 6)])
def test_more_components_than_directions_are_refused_with_their_number(n: int, rank: int) -> None:
    rng = np.random.default_rng(n)
    x = rng.normal(size=(n, 6)) @ rng.normal(size=(6, 9))
    assert _found(x, rank)[0].shape == (rank, 9)
    for k in range(rank + 1, 10):
        message = f"pca={k}: the training images span {rank} directions only; give pca={rank} "
        with pytest.raises(ContributionError, match=message):
            _found(x, k)


def test_images_that_are_all_equal_span_no_direction() -> None:
    with pytest.raises(ContributionError, match="span 0 directions"):
        principal_components(np.zeros((3, 3)), Standardisation(np.ones(3), np.ones(3)), 1)
