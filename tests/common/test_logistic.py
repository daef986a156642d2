"""Logistic regression: its rounds, its zeros, and what happens without a penalty."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from common.errors import SettingsError
from common.learners import LogisticHead, make_learner
from common.learners.base import Problem
from tests.common.learner_cases import PARTITIONS, fit, pooled, run
from tests.common.pooled_reference import compare, reference

PROBLEM = Problem(("a", "b", "c"), 4)


@pytest.mark.parametrize(
    ("settings", "most"),
    [
        ("pca=8", 7),
        ("pca=8 class_weight=none", 8),
        ("", 7),
        ("pca=8 l1_ratio=0.5", 7),
        ("pca=8 l1_ratio=1", 8),
        ("pca=8 alpha_per_image=0.01", 9),
        ("solver=lbfgs pca=8", 25),
    ],
)
@pytest.mark.parametrize("seed", [40, 41, 42])
def test_it_takes_few_rounds(settings: str, most: int, seed: int) -> None:
    data = pooled(seed, n=400, dimension=20, classes=5)
    learner = make_learner("logistic", data.problem, settings)
    state, stages = run(learner, data.sites(PARTITIONS["acquisition"](data)))
    assert stages[0] == "moments"
    assert set(stages[1:]) == ({"curvature", "gradient"} if "lbfgs" in settings else {"newton"})
    assert len(stages) <= most
    assert state.notes == ()


def test_a_looser_tolerance_saves_rounds() -> None:
    data = pooled(43, n=300, dimension=10, classes=4)
    sites = data.sites(PARTITIONS["iid"](data))
    found, rounds = [], []
    for tolerance in ("1e-2", "1e-4", "1e-10"):
        settings = f"solver=lbfgs tolerance={tolerance}"
        state, stages = run(make_learner("logistic", data.problem, settings), sites)
        found.append(state.arrays["coef"])
        rounds.append(len(stages))
    assert rounds[0] < rounds[1] < rounds[2]
    errors = [np.linalg.norm(coef - found[2]) / np.linalg.norm(found[2]) for coef in found[:2]]
    assert errors[1] < 0.1 * errors[0]
    assert errors[0] < 0.1


@pytest.mark.parametrize("classes", [2, 4])
def test_both_solvers_give_the_same_intercepts_also_in_sum(classes: int) -> None:
    data = pooled(48, n=200, dimension=6, classes=classes)
    sites = data.sites(PARTITIONS["iid"](data))
    by_newton = fit(LogisticHead(solver="newton"), data, sites)
    by_gradients = fit(LogisticHead(solver="lbfgs"), data, sites)
    for head in (by_newton, by_gradients):
        assert classes == 2 or abs(head.intercept_.sum()) <= 1e-12
    np.testing.assert_allclose(by_gradients.intercept_, by_newton.intercept_, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("dimension", "stage"), [(300, "newton"), (301, "gradient")])
def test_beyond_300_features_it_sends_gradients(dimension: int, stage: str) -> None:
    data = pooled(44, n=60, dimension=dimension, classes=2)
    sites = data.sites(PARTITIONS["acquisition"](data))
    head = LogisticHead(alpha_per_image=1.0)
    _, stages = run(make_learner("logistic", data.problem, "alpha_per_image=1"), sites)
    assert stages[-1] == stage
    compare(fit(clone(head), data, sites), reference(head, data), data)


@pytest.mark.parametrize(("l1_ratio", "classes"), [(1.0, 5), (1.0, 3), (1.0, 2), (0.5, 4)])
@pytest.mark.parametrize("alpha", [0.1, 0.02])
def test_an_l1_penalty_gives_zeros_where_scikit_learn_does(
    l1_ratio: float, classes: int, alpha: float
) -> None:
    data = pooled(45, n=200, dimension=14, classes=classes)
    head = LogisticHead(alpha_per_image=alpha, l1_ratio=l1_ratio)
    fitted = fit(clone(head), data, data.sites(PARTITIONS["dirichlet"](data)))
    saga = reference(head, data)
    compare(fitted, saga, data)
    found = fitted.coef_[1:] if classes == 2 else fitted.coef_
    np.testing.assert_array_equal(found == 0.0, np.abs(saga.coef) < 1e-9)
    assert 0 < np.count_nonzero(found) < found.size


@pytest.mark.parametrize("class_weight", ["balanced", "none"])
def test_a_strong_l1_penalty_leaves_the_class_shares(class_weight: str) -> None:
    data = pooled(46, n=200, dimension=6, classes=3)
    head = LogisticHead(alpha_per_image=10.0, l1_ratio=1.0, class_weight=class_weight)
    fitted = fit(head, data, data.sites(PARTITIONS["iid"](data)))
    assert not fitted.coef_.any()
    share = np.bincount(data.y) / 200 if class_weight == "none" else np.full(3, 1 / 3)
    expected = np.tile(share, (len(data.probe), 1))
    np.testing.assert_allclose(fitted.predict_proba(data.probe), expected, atol=1e-9)


def test_without_a_penalty_collinear_features_change_nothing() -> None:
    # Five hundred images in three dimensions: no plane separates the classes.
    data = pooled(47, n=500, dimension=3, classes=3)
    twice = replace(data, x=np.hstack([data.x, data.x[:, :2]]))
    learner = make_learner(
        "logistic", twice.problem, "alpha_per_image=1e-18 class_weight=none solver=newton"
    )
    state, _ = run(learner, twice.sites(PARTITIONS["acquisition"](data)))
    assert len(state.notes) == 1
    assert "singular to rounding" in state.notes[0]
    scaler = StandardScaler().fit(data.x.astype(np.float64))
    free = LogisticRegression(C=1e12, tol=1e-9, max_iter=1000)
    free.fit(scaler.transform(data.x.astype(np.float64)), data.y)
    assert np.abs(free.coef_).max() < 20
    probe = np.hstack([data.probe, data.probe[:, :2]])
    found = learner.head(state).predict_proba(probe)
    expected = free.predict_proba(scaler.transform(data.probe.astype(np.float64)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    # Of least norm: a feature and its copy share their weight.
    coef = state.arrays["coef"]
    np.testing.assert_allclose(coef[:, :2], coef[:, 3:], rtol=1e-6)


@pytest.mark.parametrize("text", ["l1_ratio=0.1", "folds=5 search=grid:0.1:1:3"])
def test_gradients_alone_have_neither_an_l1_penalty_nor_a_search(text: str) -> None:
    with pytest.raises(SettingsError, match="solver=lbfgs has no"):
        make_learner("logistic", PROBLEM, f"solver=lbfgs {text}")


@pytest.mark.parametrize(
    "text",
    ["alpha_per_image=0", "alpha_per_image=inf", "l1_ratio=1.1", "tolerance=0", "solver=saga"],
)
def test_settings_out_of_bounds_are_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=text.partition("=")[0]):
        make_learner("logistic", PROBLEM, text)
