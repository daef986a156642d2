"""Standardising and projecting over any partition is scikit-learn's on pooled features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import common.learners.front
from common.errors import ContributionError, SettingsError
from common.learners.base import Arrays, Problem, SiteData, State
from common.learners.checked import check_arrays
from common.learners.front import FrontLearner, affine_map, transform
from common.learners.settings import FrontSettings
from common.learners.total import Total
from common.split import Split

KERNELS = {"rff": "rff_weight", "nystroem": "landmark"}


@dataclass(frozen=True)
class Pooled:
    x: NDArray[np.float32]
    y: NDArray[np.intp]
    site_of: NDArray[np.intp]

    @property
    def x64(self) -> NDArray[np.float64]:
        return self.x.astype(np.float64)

    def learner(self, **values: object) -> FrontLearner:
        problem = Problem(("a", "b", "c"), self.x.shape[1])
        return FrontLearner(problem, FrontSettings.model_validate(values))

    def fit(self, **values: object) -> Arrays:
        learner = self.learner(**values)
        start, total = learner.start(), Total()
        check_arrays(start.arrays, learner.state_spec(start.stage))
        for site in range(int(self.site_of.max()) + 1):
            member = self.site_of == site
            sums = learner.contribute(SiteData(self.x[member], self.y[member]), start)
            check_arrays(sums.arrays, learner.contribution_spec(start.stage), int(member.sum()))
            learner.verify(start.stage, sums)
            total.add(sums)
        state = learner.update(start, total.value())
        assert state.done
        check_arrays(state.arrays, learner.fitted_spec())
        check_arrays(state.arrays, learner.state_spec(state.stage))
        assert state.arrays["class_count"].tolist() == np.bincount(self.y, minlength=3).tolist()
        return state.arrays


def _pooled(seed: int, n: int, dimension: int, sites: int) -> Pooled:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, dimension)) @ rng.normal(size=(dimension, dimension))
    x = (x + 3 * rng.normal(size=dimension)) * 10.0 ** rng.uniform(-3, 3, dimension)
    return Pooled(x.astype(np.float32), rng.integers(0, 3, n), rng.integers(0, sites, n))


@st.composite
def federations(draw: st.DrawFn) -> Pooled:
    n, dimension = draw(st.integers(4, 60)), draw(st.integers(1, 15))
    seed, sites = draw(st.integers(0, 2**32 - 1)), draw(st.integers(1, 6))
    pooled = _pooled(seed, n, dimension, sites)
    if draw(st.booleans()):
        # Of any size: what its sums leave of a variance is no signal.
        pooled.x[:, 0] = draw(st.sampled_from([0.0, 0.1, -1e3, 1e8]))
    return pooled


@settings(max_examples=80)
@given(pooled=federations())
def test_without_components_it_is_the_standard_scaler(pooled: Pooled) -> None:
    arrays = pooled.fit()
    scaler = StandardScaler().fit(pooled.x64)
    magnitude = np.abs(pooled.x64).max()
    np.testing.assert_allclose(arrays["mean"], scaler.mean_, rtol=1e-11, atol=1e-13 * magnitude)
    np.testing.assert_allclose(arrays["scale"], scaler.scale_, rtol=1e-9)
    np.testing.assert_allclose(
        transform(arrays, pooled.x), scaler.transform(pooled.x64), rtol=0, atol=1e-7
    )


@settings(max_examples=120)
@given(pooled=federations(), data=st.data())
def test_with_components_it_is_the_scaler_and_pca(pooled: Pooled, data: st.DataObject) -> None:
    assume(np.ptp(pooled.x64, axis=0).any())
    pipeline = make_pipeline(StandardScaler(), PCA(svd_solver="full")).fit(pooled.x64)
    pca = pipeline[1]
    variances = np.append(pca.explained_variance_, 0.0)
    ranked = int((variances > 1e-3 * variances[0]).sum())
    k = data.draw(st.integers(1, ranked))
    # Components of nearly equal variance, and signs of nearly equal elements, are arbitrary.
    assume(np.diff(-variances)[:k].min() > 1e-3 * variances[0])
    ordered = np.sort(np.abs(pca.components_[:k]), axis=1)
    assume(ordered.shape[1] == 1 or (ordered[:, -1] - ordered[:, -2]).min() > 1e-5)

    arrays, n = pooled.fit(pca=k), len(pooled.x)
    np.testing.assert_allclose(arrays["scale"], pipeline[0].scale_, rtol=1e-9)
    np.testing.assert_allclose(arrays["components"], pca.components_[:k], rtol=0, atol=1e-8)
    # scikit-learn divides by n - 1.
    expected = pca.explained_variance_[:k] * (n - 1) / n
    np.testing.assert_allclose(arrays["explained_variance"], expected, rtol=1e-9)
    z = transform(arrays, pooled.x)
    assert z.shape == (n, k)
    fresh = make_pipeline(StandardScaler(), PCA(k, svd_solver="full"))
    np.testing.assert_allclose(z, fresh.fit_transform(pooled.x64), rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.square(z).mean(axis=0), expected, rtol=1e-6)


@settings(max_examples=60)
@given(pooled=federations(), data=st.data())
def test_the_affine_map_is_the_transform(pooled: Pooled, data: st.DataObject) -> None:
    k = data.draw(st.sampled_from([0, 1]))
    assume(not k or np.ptp(pooled.x64, axis=0).any())
    arrays = pooled.fit(pca=k)
    matrix = affine_map(arrays)
    ones = np.ones((len(pooled.x), 1))
    mapped = np.hstack([pooled.x64, ones]) @ matrix.T
    assert mapped.shape[1] == (k or pooled.x.shape[1]) + 1
    np.testing.assert_allclose(mapped[:, :-1], transform(arrays, pooled.x), rtol=0, atol=1e-8)
    np.testing.assert_array_equal(mapped[:, -1], 1.0)


@pytest.mark.parametrize(("n", "dimension", "constants", "rank"), [(6, 9, 0, 5), (40, 9, 4, 5)])
def test_more_components_than_the_images_span_are_refused_with_their_number(
    n: int, dimension: int, constants: int, rank: int
) -> None:
    pooled = _pooled(2, n, dimension, 3)
    pooled.x[:, :constants] = np.array([1e8, 0.1, -1e3, 7.7])[:constants]
    assert pooled.fit(pca=rank)["components"].shape == (rank, dimension)
    for k in range(rank + 1, dimension + 1):
        with pytest.raises(ContributionError, match=f"pca={k}: .* span {rank} directions only"):
            pooled.fit(pca=k)


def test_more_components_than_features_are_refused() -> None:
    pooled = _pooled(3, 30, 4, 2)
    assert pooled.learner(pca=4).width == 4
    with pytest.raises(SettingsError, match="pca=5, but features have 4 dimensions"):
        pooled.learner(pca=5)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_kernel_map_comes_last(kernel: str) -> None:
    pooled = _pooled(4, 50, 6, 3)
    learner = pooled.learner(pca=3, kernel=kernel, components=11)
    arrays = pooled.fit(pca=3, kernel=kernel, components=11)
    assert KERNELS[kernel] in arrays
    assert learner.width == 11
    assert transform(arrays, pooled.x).shape == (50, 11)
    assert pooled.learner(pca=3).width == 3
    assert pooled.learner().width == 6


def test_rows_are_transformed_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pooled = _pooled(5, 20, 4, 1)
    arrays, learner = pooled.fit(pca=2), pooled.learner(pca=2)
    monkeypatch.setattr(common.learners.front, "ROWS", 7)
    fold = np.arange(20) % 3
    parts = list(learner.rows(SiteData(pooled.x, pooled.y, fold), arrays))
    assert [len(part.y) for part in parts] == [7, 7, 6]
    z = np.concatenate([part.z for part in parts])
    np.testing.assert_allclose(z[:, :-1], transform(arrays, pooled.x), rtol=1e-12)
    np.testing.assert_array_equal(z[:, -1], 1.0)
    assert np.concatenate([part.y for part in parts]).tolist() == pooled.y.tolist()
    assert np.concatenate([part.fold for part in parts]).tolist() == fold.tolist()
    without = next(learner.rows(SiteData(pooled.x, pooled.y), arrays))
    assert without.fold.tolist() == [0] * 7
    assert list(learner.rows(SiteData(pooled.x[:0], pooled.y[:0]), arrays)) == []


def test_it_has_one_stage() -> None:
    learner = _pooled(6, 5, 2, 1).learner()
    assert learner.part("moments") is Split.TRAIN
    data = SiteData(np.zeros((1, 2)), np.zeros(1, dtype=np.intp))
    sums = learner.contribute(data, learner.start())
    for ask in (
        lambda: learner.contribution_spec("gram"),
        lambda: learner.part("gram"),
        lambda: learner.verify("gram", sums),
        lambda: learner.contribute(data, State("gram", {})),
        lambda: learner.update(State("gram", {}), sums),
    ):
        with pytest.raises(ContributionError, match="no stage 'gram'"):
            ask()


def test_no_training_image_is_an_error() -> None:
    pooled = _pooled(7, 5, 3, 1)
    learner = pooled.learner()
    empty = learner.contribute(SiteData(pooled.x[:0], pooled.y[:0]), learner.start())
    with pytest.raises(ContributionError, match="no site has a training image"):
        learner.update(learner.start(), empty)
