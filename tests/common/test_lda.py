"""Linear discriminant analysis: its shrinkage, its rounds, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.preprocessing import StandardScaler

from common.errors import SettingsError
from common.learners import LdaHead, make_learner
from common.learners.base import Problem
from common.learners.federate import fit_sites
from common.learners.lda import ledoit_wolf
from tests.common.learner_cases import PARTITIONS, pooled, run

PROBLEM = Problem(("a", "b", "c"), 4)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(2, 80),
    dimension=st.integers(1, 30),
    decades=st.floats(0.0, 3.0),
)
def test_the_shrinkage_is_scikit_learns(seed: int, n: int, dimension: int, decades: float) -> None:
    rng = np.random.default_rng(seed)
    x = rng.standard_t(4, size=(n, dimension)) * 10.0 ** rng.uniform(0, decades, dimension)
    covariance = x.T @ x / n
    fourth = float(np.square(np.square(x).sum(axis=1)).sum())
    expected = LedoitWolf(assume_centered=True).fit(x).shrinkage_
    # scikit-learn has no target to shrink to in one dimension.
    if dimension > 1:
        assert ledoit_wolf(covariance, fourth, n) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("covariance", "shrinkage"),
    [(np.diag([1.0, 4.0, 9.0]), 0.0), (np.eye(3), 0.0), (np.zeros((2, 2)), 0.0)],
)
def test_without_noise_nothing_is_shrunk(
    covariance: np.ndarray[tuple[int, int], np.dtype[np.float64]], shrinkage: float
) -> None:
    assert ledoit_wolf(covariance, 0.0, 10) == shrinkage


def test_noise_beyond_the_spread_shrinks_to_the_target() -> None:
    assert ledoit_wolf(np.diag([1.0, 1.5]), 1e6, 3) == 1.0


def test_it_takes_two_rounds_and_one_more_to_choose_a_shrinkage() -> None:
    data = pooled(30, n=120, dimension=6, classes=3)
    sites = data.sites(PARTITIONS["acquisition"](data))
    fixed = make_learner("lda", data.problem, "shrinkage=0.3")
    assert run(fixed, sites)[1] == ["moments", "gram"]
    by_ledoit_wolf = make_learner("lda", data.problem)
    assert run(by_ledoit_wolf, sites)[1] == ["moments", "gram", "fourth"]
    searching = make_learner("lda", data.problem, "folds=3 search=grid:1e-3:1:5")
    folds = {
        name: replace(site, fold=np.arange(len(site), dtype=np.intp) % 3)
        for name, site in sites.items()
    }
    assert run(searching, folds)[1] == ["moments", "gram", "validate"]


def test_without_shrinkage_collinear_features_change_nothing() -> None:
    data = pooled(31, n=150, dimension=5, classes=3)
    twice = replace(data, x=np.hstack([data.x, data.x[:, :2]]))
    learner = make_learner("lda", twice.problem, "shrinkage=0")
    state = fit_sites(learner, twice.sites(PARTITIONS["acquisition"](data)))
    assert len(state.notes) == 1
    assert "rank 5 of 7" in state.notes[0]
    assert "a larger shrinkage makes it regular" in state.notes[0]
    scaler = StandardScaler().fit(data.x.astype(np.float64))
    lda = LinearDiscriminantAnalysis("lsqr").fit(
        scaler.transform(data.x.astype(np.float64)), data.y
    )
    probe = np.hstack([data.probe, data.probe[:, :2]])
    found = learner.head(state).predict_proba(probe)
    expected = lda.predict_proba(scaler.transform(data.probe.astype(np.float64)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_full_shrinkage_leaves_a_multiple_of_the_identity() -> None:
    data = pooled(32, n=150, dimension=5, classes=3)
    state = fit_sites(
        make_learner("lda", data.problem, "shrinkage=1"), data.sites(PARTITIONS["iid"](data))
    )
    z = StandardScaler().fit_transform(data.x.astype(np.float64))
    means = np.array([z[data.y == label].mean(axis=0) for label in range(3)])
    variance = np.square(z - means[data.y]).mean()
    np.testing.assert_allclose(state.arrays["coef"], means / variance, rtol=1e-9)


@pytest.mark.parametrize("text", ["ledoit-wolf", "0", "1", "0.25"])
def test_a_shrinkage_is_a_number_from_0_to_1_or_a_name(text: str) -> None:
    make_learner("lda", PROBLEM, f"shrinkage={text}")


@pytest.mark.parametrize("text", ["-0.1", "1.01", "nan", "inf", "auto"])
def test_any_other_shrinkage_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="give ledoit-wolf or a number from 0 to 1"):
        make_learner("lda", PROBLEM, f"shrinkage={text}")
    with pytest.raises(SettingsError, match="give ledoit-wolf or a number from 0 to 1"):
        LdaHead(shrinkage=text).fit(np.eye(4), [0, 1, 0, 1])


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("search=grid:0.1:2:3", "from 0 to 1"),
        ("search=grid:0.1:1:3 priors=uniform", "needs empirical priors"),
    ],
)
def test_a_search_beyond_what_it_can_do_is_refused(text: str, match: str) -> None:
    with pytest.raises(SettingsError, match=match):
        make_learner("lda", PROBLEM, f"folds=3 {text}")
