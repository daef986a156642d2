"""The support vector machine: its rounds, its weights, and what happens without a penalty."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from common.errors import SettingsError
from common.learners import SvmHead, make_learner
from common.learners.base import Problem
from tests.common.learner_cases import PARTITIONS, fit, pooled, run

PROBLEM = Problem(("a", "b", "c"), 4)


@pytest.mark.parametrize(
    ("settings", "most"),
    [("pca=8", 9), ("", 9), ("alpha_per_image=0.01", 12), ("solver=lbfgs", 35)],
)
@pytest.mark.parametrize("seed", [50, 51, 52])
def test_it_takes_few_rounds(settings: str, most: int, seed: int) -> None:
    data = pooled(seed, n=400, dimension=20, classes=5)
    learner = make_learner("svm", data.problem, f"{settings} calibrate=none")
    state, stages = run(learner, data.sites(PARTITIONS["acquisition"](data)))
    assert set(stages[1:]) == ({"curvature", "gradient"} if "lbfgs" in settings else {"newton"})
    assert len(stages) <= most
    assert state.notes == ()


@pytest.mark.parametrize("solver", ["newton", "lbfgs"])
@pytest.mark.parametrize("classes", [2, 4])
def test_at_the_solution_no_direction_lessens_the_objective(solver: str, classes: int) -> None:
    """More digits than liblinear's own solution has."""
    data = pooled(53, n=250, dimension=9, classes=classes)
    head = SvmHead(alpha_per_image=0.05, solver=solver, class_weight="none", tolerance=1e-10)
    head = fit(head, data, data.sites(PARTITIONS["acquisition"](data)))
    z = StandardScaler().fit_transform(data.x.astype(np.float64))
    z = np.column_stack([z, np.ones(len(z))])
    target = np.where(data.y[:, None] == np.arange(classes), 1.0, -1.0)
    lines = np.column_stack([head.coef_, head.intercept_])
    slack = np.maximum(1.0 - target * (z @ lines.T), 0.0)
    gradient = -2.0 * (target * slack).T @ z + 0.05 * len(z) * lines
    assert np.abs(gradient).max() <= 1e-8 * np.abs(2.0 * target.T @ z).max()


def test_balanced_weights_are_of_images_and_not_of_the_positive_class() -> None:
    data = pooled(54, n=250, dimension=9, classes=4)
    head = fit(SvmHead(), data, data.sites(PARTITIONS["iid"](data)))
    z = StandardScaler().fit_transform(data.x.astype(np.float64))
    c = 1.0 / (0.1 * len(z))
    weight = len(z) / (4 * np.bincount(data.y)[data.y])
    svm = LinearSVC(C=c, dual=False, tol=1e-10, max_iter=10_000).fit(z, data.y, weight)
    np.testing.assert_allclose(head.coef_, svm.coef_, rtol=0, atol=1e-6)
    other = LinearSVC(C=c, dual=False, tol=1e-10, max_iter=10_000, class_weight="balanced")
    assert np.abs(head.coef_ - other.fit(z, data.y).coef_).max() > 1e-2


def test_classes_that_a_plane_separates_have_a_solution_still() -> None:
    data = pooled(55, n=60, dimension=40, classes=2)
    for solver in ("newton", "lbfgs"):
        head = SvmHead(alpha_per_image=1e-3, solver=solver)
        head = fit(head, data, data.sites(PARTITIONS["acquisition"](data)))
        z = StandardScaler().fit_transform(data.x.astype(np.float64))
        weight = len(z) / (2 * np.bincount(data.y)[data.y])
        svm = LinearSVC(C=1.0 / (1e-3 * len(z)), dual=False, tol=1e-12, max_iter=10_000)
        svm.fit(z, data.y, weight)
        assert svm.score(z, data.y) == 1.0
        error = np.linalg.norm(head.coef_[1:] - svm.coef_) / np.linalg.norm(svm.coef_)
        assert error <= 1e-5


def test_without_a_penalty_collinear_features_share_their_weight() -> None:
    data = pooled(56, n=500, dimension=3, classes=3)
    twice = replace(data, x=np.hstack([data.x, data.x[:, :2]]))
    settings = "alpha_per_image=1e-18 class_weight=none calibrate=none"
    learner = make_learner("svm", twice.problem, settings)
    state, _ = run(learner, twice.sites(PARTITIONS["acquisition"](data)))
    assert len(state.notes) == 1
    assert "singular to rounding" in state.notes[0]
    z = StandardScaler().fit_transform(data.x.astype(np.float64))
    free = LinearSVC(C=1e6, dual=False, tol=1e-12, max_iter=10_000).fit(z, data.y)
    coef = state.arrays["coef"]
    np.testing.assert_allclose(coef[:, :2], coef[:, 3:], rtol=1e-6)
    whole = np.column_stack([coef[:, :2] + coef[:, 3:], coef[:, 2]])
    np.testing.assert_allclose(whole, free.coef_, rtol=0, atol=1e-5)


def test_gradients_alone_have_no_search() -> None:
    with pytest.raises(SettingsError, match="solver=lbfgs has no search"):
        make_learner("svm", PROBLEM, "solver=lbfgs folds=5 search=grid:0.1:1:3")
