"""Kernel maps against scikit-learn's, and against the kernel itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.metrics.pairwise import rbf_kernel

from common.learners.base import Arrays, Problem, SiteData
from common.learners.checked import check_arrays
from common.learners.front import FrontLearner, transform
from common.learners.kernel_map import apply_kernel_map, kernel_spec, make_kernel_map
from common.learners.settings import FrontSettings
from common.learners.total import Total

PROBLEM = Problem(("a", "b"), 5)


def _map(kind: str, inputs: int, components: int, gamma: float, seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    arrays = make_kernel_map(kind, np.linspace(2.0, 0.5, inputs), components, gamma, rng)
    check_arrays(arrays, kernel_spec(kind, inputs, components))
    return arrays


def _fit(x: NDArray[np.float64], sites: int = 1, **values: object) -> Arrays:
    learner = FrontLearner(PROBLEM, FrontSettings.model_validate(values))
    y, total = np.arange(len(x)) % 2, Total()
    for site in range(sites):
        data = SiteData(x[site::sites], y[site::sites])
        total.add(learner.contribute(data, learner.start()))
    return learner.update(learner.start(), total.value()).arrays


def _features(seed: int, n: int = 60) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 5)) @ rng.normal(size=(5, 5)) + 3.0


@pytest.mark.parametrize("gamma", [0.05, 0.5])
def test_products_of_random_fourier_features_come_near_the_kernel(gamma: float) -> None:
    components = 16_384
    z = np.random.default_rng(1).normal(size=(50, 3))
    mapped = apply_kernel_map(_map("rff", 3, components, gamma), z)
    worst = np.abs(mapped @ mapped.T - rbf_kernel(z, gamma=gamma)).max()
    # Hoeffding: each component's share lies within 2 / components of 0. Over 1,275 pairs, one
    # is out by this much with a probability of 1e-4.
    assert worst < np.sqrt(8.0 * np.log(2 * 1275 / 1e-4) / components)


@settings(max_examples=30)
@given(seed=st.integers(0, 999), gamma=st.floats(0.01, 3.0), components=st.integers(1, 40))
def test_random_fourier_features_are_scikit_learns(
    seed: int, gamma: float, components: int
) -> None:
    arrays = _map("rff", 4, components, gamma, seed)
    z = np.random.default_rng(seed + 1).normal(size=(20, 4))
    sampler = RBFSampler(gamma=gamma, n_components=components).fit(z)
    sampler.random_weights_, sampler.random_offset_ = arrays["rff_weight"], arrays["rff_offset"]
    np.testing.assert_allclose(apply_kernel_map(arrays, z), sampler.transform(z), atol=1e-12)


def test_random_weights_have_the_kernels_distribution() -> None:
    arrays = _map("rff", 20, 5_000, 0.3)
    # Normal with a variance of 2 gamma, within five standard errors; offsets uniform.
    weight, offset = arrays["rff_weight"], arrays["rff_offset"]
    assert abs(weight.var() / 0.6 - 1) < 5 * np.sqrt(2 / weight.size)
    assert abs(weight.mean()) < 5 * np.sqrt(0.6 / weight.size)
    assert offset.min() >= 0
    assert offset.max() < 2 * np.pi
    assert abs(offset.mean() - np.pi) < 5 * np.pi / np.sqrt(3 * offset.size)


@settings(max_examples=30)
@given(seed=st.integers(0, 999), gamma=st.floats(0.1, 2.0), components=st.integers(1, 20))
def test_nystroem_features_are_scikit_learns_on_the_same_landmarks(
    seed: int, gamma: float, components: int
) -> None:
    arrays = _map("nystroem", 6, components, gamma, seed)
    z = np.random.default_rng(seed + 1).normal(size=(20, 6))
    reference = Nystroem(gamma=gamma, n_components=components, random_state=seed)
    reference.fit(arrays["landmark"])
    # It shuffles its landmarks, and its features with them.
    expected = reference.transform(z)[:, np.argsort(reference.component_indices_)]
    np.testing.assert_allclose(apply_kernel_map(arrays, z), expected, atol=1e-7)


def test_nystroem_is_exact_between_landmarks() -> None:
    arrays = _map("nystroem", 6, 30, 0.2)
    mapped = apply_kernel_map(arrays, arrays["landmark"])
    expected = rbf_kernel(arrays["landmark"], gamma=0.2)
    np.testing.assert_allclose(mapped @ mapped.T, expected, atol=1e-7)


def test_landmarks_have_the_features_distribution() -> None:
    landmark = np.concatenate([_map("nystroem", 4, 400, 0.1, i)["landmark"] for i in range(10)])
    error = 5 * np.sqrt(2 / 4_000)
    np.testing.assert_allclose(
        np.cov(landmark.T), np.diag(np.linspace(2.0, 0.5, 4)), atol=2 * error
    )
    assert np.abs(landmark.mean(axis=0)).max() < 5 * np.sqrt(2 / 4_000)


def test_landmarks_are_no_images_and_depend_on_sums_and_seed_alone() -> None:
    x = _features(0)
    fitted = [_fit(x, sites, pca=4, kernel="nystroem", components=12) for sites in (1, 2, 7)]
    landmark = fitted[0]["landmark"]
    for other in fitted[1:]:
        np.testing.assert_allclose(other["landmark"], landmark, rtol=1e-11)
    projected = transform({k: fitted[0][k] for k in ("mean", "scale", "components")}, x)
    distance = np.linalg.norm(projected[:, None] - landmark, axis=2)
    assert distance.min() > 1e-3
    # Other images with the same mean and covariance: reflected across images, keeping the mean.
    axis = np.random.default_rng(1).normal(size=len(x))
    axis -= axis.mean()
    others = x - 2.0 * np.outer(axis, axis @ x) / (axis @ axis)
    assert np.linalg.norm(others - x) > 1.0
    same = _fit(others, 3, pca=4, kernel="nystroem", components=12)["landmark"]
    np.testing.assert_allclose(same, landmark, rtol=1e-10)
    other_seed = _fit(x, pca=4, kernel="nystroem", components=12, kernel_seed=1)
    assert np.abs(other_seed["landmark"] - landmark).min() > 0


@pytest.mark.parametrize("sites", [1, 3])
@pytest.mark.parametrize("kernel", ["rff", "nystroem"])
def test_gamma_is_one_over_the_total_variance_unless_it_is_given(kernel: str, sites: int) -> None:
    x = _features(2)
    # A constant has no variance, though its sums leave some rounding.
    x[:, 2] = 0.1 + 0.2
    for given_gamma, k in ((0.0, 3), (0.7, 3), (0.0, 0)):
        if kernel == "nystroem" and not k:
            continue
        z = (x - x.mean(axis=0)) / np.where(np.arange(5) == 2, 1.0, x.std(axis=0))
        total = np.sort(np.linalg.eigvalsh(np.cov(z.T, bias=True)))[::-1][: k or 5].sum()
        gamma = given_gamma or 1.0 / total
        arrays = _fit(x, sites, pca=k, kernel=kernel, components=6, gamma=given_gamma)
        if kernel == "nystroem":
            np.testing.assert_allclose(arrays["kernel_gamma"], [gamma], rtol=1e-10)
        else:
            unit = _fit(x, sites, pca=k, kernel=kernel, components=6, gamma=1.0)
            ratio = arrays["rff_weight"] / unit["rff_weight"]
            np.testing.assert_allclose(ratio, np.sqrt(gamma), rtol=1e-10)


def test_features_that_are_all_constant_have_a_map() -> None:
    arrays = _fit(np.full((10, 5), 0.1), kernel="rff", components=4)
    assert np.isfinite(transform(arrays, np.full((2, 5), 0.1))).all()


def test_mapping_leaves_the_features_alone() -> None:
    z = np.ones((3, 4))
    apply_kernel_map(_map("rff", 4, 4, 1.0), z)
    assert (z == 1).all()
