"""The ridge over any partition is scikit-learn's ridge on the pooled features."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.linalg.blas import dsyrk
from sklearn.linear_model import RidgeClassifier
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info, threadpool_limits

import common.learners.ridge
from common.errors import ContributionError
from common.learners.base import (
    Contribution,
    Problem,
    SiteData,
    State,
    add,
    check_arrays,
    fit_sites,
)
from common.learners.ridge import RidgeLearner

CLASSES = ("akiec", "bcc", "mel", "nv", "vasc")


@dataclass(frozen=True)
class Pooled:
    """Features of a few images and which site has which."""

    x: NDArray[np.float32]
    y: NDArray[np.intp]
    site_of: NDArray[np.intp]
    sites: int
    classes: tuple[str, ...]

    @property
    def problem(self) -> Problem:
        return Problem(self.classes, self.x.shape[1])

    def site_data(self) -> list[SiteData]:
        members = [self.site_of == site for site in range(self.sites)]
        return [SiteData(self.x[member], self.y[member]) for member in members]


def _pooled(
    seed: int, n: int, dimension: int, classes: int, sites: int, *, constant: bool = False
) -> Pooled:
    rng = np.random.default_rng(seed)
    # Shares of classes and sites are uneven, so that some come out empty.
    y = rng.choice(classes, size=n, p=rng.dirichlet(np.full(classes, 0.7)))
    site_of = rng.choice(sites, size=n, p=rng.dirichlet(np.full(sites, 0.5)))
    x = rng.normal(size=(classes, dimension))[y] + rng.normal(size=(n, dimension))
    x = x * 10.0 ** rng.uniform(-2, 2, dimension) + rng.normal(size=dimension)
    if constant:
        x[:, -1] = 0.3
    return Pooled(
        x.astype(np.float32), y.astype(np.intp), site_of.astype(np.intp), sites, CLASSES[:classes]
    )


@st.composite
def federations(draw: st.DrawFn) -> Pooled:
    return _pooled(
        draw(st.integers(0, 2**32 - 1)),
        n=draw(st.integers(4, 80)),
        dimension=draw(st.integers(2, 40)),
        classes=draw(st.integers(2, 5)),
        sites=draw(st.integers(1, 6)),
        constant=draw(st.booleans()),
    )


def _norm(values: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(values))


def _compare_with_scikit_learn(pooled: Pooled, state: State, alpha: float) -> None:
    x = pooled.x.astype(np.float64)
    scaler = StandardScaler().fit(x)
    ridge = RidgeClassifier(alpha=alpha * len(x), class_weight="balanced", solver="svd")
    ridge.fit(scaler.transform(x), pooled.y)
    coef, intercept = np.atleast_2d(ridge.coef_), ridge.intercept_
    if len(ridge.classes_) == 2:
        coef, intercept = np.concatenate([-coef, coef]), np.concatenate([-intercept, intercept])
    present = ridge.classes_
    found = state.arrays["coef"][present]
    assert _norm(found - coef) <= 1e-8 * _norm(coef)
    np.testing.assert_allclose(state.arrays["intercept"][present], intercept, rtol=0, atol=1e-8)

    # Also for images that it was not fitted on.
    probe = np.concatenate([x, np.random.default_rng(0).normal(size=(50, x.shape[1]))])
    head = RidgeLearner(pooled.problem, alpha).head(state)
    expected = ridge.predict(scaler.transform(probe))
    scores = np.sort(head.scores(probe), axis=1)
    tied = scores[:, -1] - scores[:, -2] < 1e-9
    agrees = head.predict(probe) == np.array(pooled.classes)[expected]
    assert (agrees | tied).all()
    assert tied.sum() <= 1
    np.testing.assert_allclose(
        head.decision_function(probe),
        ridge.decision_function(scaler.transform(probe)),
        rtol=1e-7,
        atol=1e-7,
    )


@settings(deadline=None, max_examples=120)
@given(pooled=federations(), alpha=st.sampled_from([1e-3, 0.1, 1.0, 10.0]))
def test_over_any_partition_it_is_scikit_learns_pooled_ridge(pooled: Pooled, alpha: float) -> None:
    assume(len(np.unique(pooled.y)) >= 2)
    state = fit_sites(RidgeLearner(pooled.problem, alpha), pooled.site_data())
    _compare_with_scikit_learn(pooled, state, alpha)


@pytest.mark.parametrize(("n", "dimension"), [(30, 300), (2000, 60)])
def test_it_is_exact_with_fewer_and_with_many_more_images_than_dimensions(
    n: int, dimension: int
) -> None:
    pooled = _pooled(1, n, dimension, classes=4, sites=5)
    state = fit_sites(RidgeLearner(pooled.problem, 0.01), pooled.site_data())
    _compare_with_scikit_learn(pooled, state, 0.01)


def test_it_is_exact_when_each_site_has_one_class_only() -> None:
    pooled = _pooled(2, 60, 8, classes=3, sites=3)
    pooled = replace(pooled, site_of=pooled.y)
    state = fit_sites(RidgeLearner(pooled.problem, 0.1), pooled.site_data())
    _compare_with_scikit_learn(pooled, state, 0.1)


def test_it_is_exact_beyond_the_rows_that_are_summed_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(common.learners.ridge, "_ROWS", 7)
    pooled = _pooled(3, 100, 12, classes=3, sites=3)
    state = fit_sites(RidgeLearner(pooled.problem, 0.1), pooled.site_data())
    _compare_with_scikit_learn(pooled, state, 0.1)


@settings(deadline=None, max_examples=50)
@given(pooled=federations(), seed=st.integers(0, 100))
def test_the_order_of_the_sites_does_not_matter(pooled: Pooled, seed: int) -> None:
    assume(len(np.unique(pooled.y)) >= 2)
    learner, sites = RidgeLearner(pooled.problem, 0.1), pooled.site_data()
    order = np.random.default_rng(seed).permutation(len(sites))
    state, other = fit_sites(learner, sites), fit_sites(learner, [sites[i] for i in order])
    for name, array in state.arrays.items():
        assert _norm(other.arrays[name] - array) <= 1e-10 * max(_norm(array), 1e-300)


@settings(deadline=None, max_examples=30)
@given(pooled=federations())
def test_every_state_and_contribution_is_what_its_specification_says(pooled: Pooled) -> None:
    assume(len(np.unique(pooled.y)) >= 2)
    learner = RidgeLearner(pooled.problem)
    state, rounds = learner.start(), 0
    while not state.done:
        check_arrays(state.arrays, learner.state_spec(state.stage))
        total: Contribution | None = None
        for data in pooled.site_data():
            sums = learner.contribute(data, state)
            assert sums.count == len(data)
            check_arrays(sums.arrays, learner.contribution_spec(state.stage), len(data))
            total = add(total, sums)
        assert total is not None
        state, rounds = learner.update(state, total), rounds + 1
    check_arrays(state.arrays, learner.state_spec(state.stage))
    assert rounds == 2


def test_a_sum_subtracts_again() -> None:
    """A site that withdraws leaves what the others alone would have given."""
    pooled = _pooled(4, 200, 10, classes=3, sites=4)
    learner, sites = RidgeLearner(pooled.problem), pooled.site_data()
    first = learner.update(learner.start(), _total(learner, learner.start(), sites))
    everyone, others = _total(learner, first, sites), _total(learner, first, sites[1:])
    leaver = learner.contribute(sites[0], first)
    for name, array in others.arrays.items():
        difference = everyone.arrays[name] - leaver.arrays[name]
        assert _norm(difference - array) <= 1e-10 * _norm(array)


def _total(learner: RidgeLearner, state: State, sites: list[SiteData]) -> Contribution:
    total: Contribution | None = None
    for data in sites:
        total = add(total, learner.contribute(data, state))
    assert total is not None
    return total


def test_a_contribution_has_the_same_bits_whatever_the_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: list[int] = []

    def spy(*args: Any, **options: Any) -> Any:
        pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
        threads.extend(pool["num_threads"] for pool in pools)
        return dsyrk(*args, **options)

    monkeypatch.setattr(common.learners.ridge, "dsyrk", spy)
    pooled = _pooled(5, 600, 300, classes=5, sites=1)
    learner = RidgeLearner(pooled.problem)
    data = pooled.site_data()[0]
    state = learner.update(learner.start(), learner.contribute(data, learner.start()))
    found = []
    for limit in (1, 2, 4):
        with threadpool_limits(limit, user_api="blas"):
            found.append(learner.contribute(data, state).arrays["gram"].tobytes())
    assert found[0] == found[1] == found[2]
    # Many a BLAS gives the same bits at this size anyway.
    assert set(threads) == {1}


def test_a_class_without_training_images_is_never_predicted() -> None:
    pooled = _pooled(6, 60, 5, classes=3, sites=2)
    pooled = replace(pooled, y=np.where(pooled.y == 1, 0, pooled.y))
    pooled.y[:2] = 0, 2
    head = _fitted_head(pooled)
    assert head.classes_.tolist() == ["akiec", "mel"]
    probe = np.random.default_rng(0).normal(size=(500, 5)) * 100
    assert set(head.predict(probe)) == {"akiec", "mel"}
    assert head.predict_proba(probe).shape == (500, 2)


def _fitted_head(pooled: Pooled) -> common.learners.ridge.RidgeHead:
    learner = RidgeLearner(pooled.problem)
    return learner.head(fit_sites(learner, pooled.site_data()))


@pytest.mark.parametrize("labels", [[0, 0, 0], []])
def test_fewer_than_two_classes_are_refused(labels: list[int]) -> None:
    y = np.array(labels, dtype=np.intp)
    data = SiteData(np.ones((len(y), 2), dtype=np.float32), y)
    with pytest.raises(ContributionError, match="fewer than two classes"):
        fit_sites(RidgeLearner(Problem(("a", "b"), 2)), [data])


@pytest.mark.parametrize(
    ("name", "value"),
    [("gram", -1e6), ("gram", 1e308), ("class_sum", 1e300), ("class_sum", -1e308)],
)
def test_sums_that_no_images_can_have_are_refused(name: str, value: float) -> None:
    pooled = _pooled(7, 50, 4, classes=3, sites=1)
    learner, data = RidgeLearner(pooled.problem), pooled.site_data()[0]
    state = learner.update(learner.start(), learner.contribute(data, learner.start()))
    sums = learner.contribute(data, state)
    forged = {**sums.arrays, name: np.full_like(sums.arrays[name], value)}
    with pytest.raises(ContributionError, match="no images can have the sums"):
        learner.update(state, Contribution(sums.count, forged))
