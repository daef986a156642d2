"""The ridge over any partition is scikit-learn's ridge on the pooled features."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.linalg.blas import dsyrk
from sklearn.linear_model import RidgeClassifier
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info, threadpool_limits

import common.learners.front
import common.learners.moments
import common.learners.symmetric
from common.errors import ContributionError
from common.learners import RidgeHead, make_learner
from common.learners.base import Contribution, Learner, SiteData
from common.learners.closed_form import GramSums, gram_sums
from common.learners.federate import fit_sites
from common.learners.front import Rows
from common.learners.ridge import RidgeSolver
from common.learners.symmetric import unpack
from common.learners.total import Total
from tests.common.learner_cases import CLASSES, PARTITIONS, Pooled, Sites, fit, pooled, run
from tests.common.pooled_reference import compare, reference


def _uneven(
    seed: int, n: int, dimension: int, classes: int, sites: int, *, constant: bool = False
) -> tuple[Pooled, Sites]:
    rng = np.random.default_rng(seed)
    # Shares of classes and sites are uneven, so that some come out empty.
    y = rng.choice(classes, size=n, p=rng.dirichlet(np.full(classes, 0.7)))
    site_of = rng.choice(sites, size=n, p=rng.dirichlet(np.full(sites, 0.5)))
    x = rng.normal(size=(classes, dimension))[y] + rng.normal(size=(n, dimension))
    x = x * 10.0 ** rng.uniform(-2, 2, dimension) + rng.normal(size=dimension)
    if constant:
        x[:, -1] = 0.3
    probe = rng.normal(size=(50, dimension)).astype(np.float32)
    data = Pooled(x.astype(np.float32), y.astype(np.intp), CLASSES[:classes], probe)
    return data, data.sites(site_of)


@st.composite
def uneven_federations(draw: st.DrawFn) -> tuple[Pooled, Sites]:
    return _uneven(
        draw(st.integers(0, 2**32 - 1)),
        n=draw(st.integers(4, 80)),
        dimension=draw(st.integers(2, 40)),
        classes=draw(st.integers(2, 5)),
        sites=draw(st.integers(1, 6)),
        constant=draw(st.booleans()),
    )


def _check(data: Pooled, sites: Sites, alpha: float) -> None:
    head = RidgeHead(alpha_per_image=alpha)
    compare(fit(head, data, sites), reference(head, data), data)


@pytest.mark.parametrize(("scale", "power"), [("deviation", 1.0), ("pareto", 0.5), ("none", 0.0)])
def test_features_may_be_divided_by_their_deviation_its_root_or_nothing(
    scale: str, power: float
) -> None:
    data, sites = _uneven(5, n=90, dimension=12, classes=3, sites=4)
    x = data.x.astype(np.float64)
    mean, divisor = x.mean(axis=0), x.std(axis=0) ** power
    ridge = RidgeClassifier(alpha=0.2 * len(x), class_weight="balanced")
    ridge.fit((x - mean) / divisor, data.y)
    head = fit(RidgeHead(alpha_per_image=0.2, scale=scale), data, sites)
    probe = (data.probe.astype(np.float64) - mean) / divisor
    np.testing.assert_allclose(head.scores(data.probe), ridge.decision_function(probe), rtol=1e-8)


def _learner(data: Pooled, more: str = "") -> Learner:
    return make_learner("ridge", data.problem, f"alpha_per_image=0.1 calibrate=none {more}")


@settings(max_examples=120)
@given(federation=uneven_federations(), alpha=st.sampled_from([1e-3, 0.1, 1.0, 10.0]))
def test_over_any_partition_it_is_scikit_learns_pooled_ridge(
    federation: tuple[Pooled, Sites], alpha: float
) -> None:
    data, sites = federation
    assume(len(np.unique(data.y)) >= 2)
    _check(data, sites, alpha)


@pytest.mark.parametrize(("n", "dimension"), [(30, 300), (2000, 60)])
def test_it_is_exact_with_fewer_and_with_many_more_images_than_dimensions(
    n: int, dimension: int
) -> None:
    _check(*_uneven(1, n, dimension, classes=4, sites=5), 0.01)


def test_it_is_exact_when_each_site_has_one_class_only() -> None:
    data, _ = _uneven(2, 60, 8, classes=3, sites=1)
    _check(data, data.sites(data.y), 0.1)


def test_it_is_exact_beyond_the_rows_that_are_summed_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data, sites = _uneven(3, 100, 12, classes=3, sites=3)
    passes: list[int] = []

    def spy(arrays: Any, x: Any) -> Any:
        passes.append(len(x))
        return transform(arrays, x)

    transform = common.learners.front.transform
    monkeypatch.setattr(common.learners.front, "ROWS", 7)
    monkeypatch.setattr(common.learners.moments, "ROWS", 7)
    monkeypatch.setattr(common.learners.front, "transform", spy)
    _check(data, sites, 0.1)
    assert max(passes) == 7
    assert sum(passes) == 100


@pytest.mark.parametrize("class_weight", ["balanced", "none"])
@pytest.mark.parametrize("classes", [2, 4])
def test_one_gram_matrix_gives_the_whole_regularisation_path(
    class_weight: str, classes: int
) -> None:
    data = pooled(8, n=150, dimension=9, classes=classes)
    z = StandardScaler().fit_transform(data.x.astype(np.float64))
    solver, counts = RidgeSolver(class_weight), np.bincount(data.y)
    rows = Rows(np.column_stack([z, np.ones(len(z))]), data.y, np.zeros_like(data.y))
    sums = gram_sums([rows], solver.weights(counts), z.shape[1] + 1)
    whole = GramSums(unpack(sums["gram"][0], z.shape[1] + 1), sums["class_sum"][0])
    values = [10.0, 1.0, 0.1, 0.01, 1e-3]
    lines, notes = solver.solve(whole, values, len(z))
    assert notes == ()
    for value, (coef, intercept) in zip(values, lines, strict=True):
        weight = None if class_weight == "none" else class_weight
        ridge = RidgeClassifier(value * len(z), class_weight=weight, solver="svd").fit(z, data.y)
        if classes == 2:
            coef, intercept = coef[1], intercept[1:]
        np.testing.assert_allclose(coef, ridge.coef_, rtol=0, atol=1e-10)
        np.testing.assert_allclose(intercept, ridge.intercept_, rtol=0, atol=1e-10)


def test_it_takes_two_rounds_and_one_more_to_choose_its_penalty() -> None:
    data, sites = _uneven(9, 120, 6, classes=3, sites=4)
    assert run(_learner(data), sites)[1] == ["moments", "gram"]
    folds = {
        name: replace(site, fold=np.arange(len(site), dtype=np.intp) % 3)
        for name, site in sites.items()
    }
    searching = make_learner("ridge", data.problem, "folds=3 search=grid:1e-3:10:5 calibrate=none")
    assert run(searching, folds)[1] == ["moments", "gram", "validate"]


def test_a_sum_subtracts_again() -> None:
    """A site that withdraws leaves what the others alone would have given."""
    data, sites = _uneven(4, 200, 10, classes=3, sites=4)
    learner = _learner(data)
    leaver, *others = sites.values()
    first = learner.update(learner.start(), _total(learner, list(sites.values())).value())
    total = Total()
    for site in (leaver, *others):
        total.add(learner.contribute(site, first))
    total.subtract(learner.contribute(leaver, first))
    alone = Total()
    for site in others:
        alone.add(learner.contribute(site, first))
    assert total.sites == alone.sites == 3
    assert total.value().count == alone.value().count
    for name, array in alone.value().arrays.items():
        difference = np.linalg.norm(total.value().arrays[name] - array)
        assert difference <= 1e-14 * np.linalg.norm(array)


def _total(learner: Learner, sites: list[SiteData]) -> Total:
    total = Total()
    for site in sites:
        total.add(learner.contribute(site, learner.start()))
    return total


def test_a_contribution_has_the_same_bits_whatever_the_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads: list[int] = []

    def spy(*args: Any, **options: Any) -> Any:
        pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
        threads.extend(pool["num_threads"] for pool in pools)
        return dsyrk(*args, **options)

    monkeypatch.setattr(common.learners.symmetric, "dsyrk", spy)
    data, sites = _uneven(5, 600, 300, classes=5, sites=1)
    learner, site = _learner(data), next(iter(sites.values()))
    state = learner.update(learner.start(), learner.contribute(site, learner.start()))
    found = []
    for limit in (1, 2, 4):
        with threadpool_limits(limit, user_api="blas"):
            found.append(learner.contribute(site, state).arrays["gram"].tobytes())
    assert found[0] == found[1] == found[2]
    # Many a BLAS gives the same bits at this size anyway.
    assert set(threads) == {1}


@pytest.mark.parametrize("alpha", ["1e-30", "1e-16"])
def test_without_a_penalty_collinear_features_share_their_weight(alpha: str) -> None:
    data = pooled(10, n=120, dimension=6, classes=3)
    twice = replace(data, x=np.hstack([data.x, data.x[:, :2]]))
    learner = make_learner(
        "ridge", twice.problem, f"alpha_per_image={alpha} class_weight=none calibrate=none"
    )
    state = fit_sites(learner, twice.sites(PARTITIONS["acquisition"](data)))
    assert len(state.notes) == 1
    assert "singular to rounding (rank 6 of 8): solved by least norm" in state.notes[0]
    z = StandardScaler().fit_transform(twice.x.astype(np.float64))
    target = np.where(data.y[:, None] == np.arange(3), 1.0, -1.0)
    expected = np.linalg.lstsq(z, target - target.mean(axis=0), rcond=1e-10)[0]
    np.testing.assert_allclose(state.arrays["coef"], expected.T, rtol=0, atol=1e-9)
    np.testing.assert_allclose(state.arrays["intercept"], target.mean(axis=0), atol=1e-9)


@pytest.mark.parametrize(
    ("name", "value"),
    [("gram", -1e6), ("gram", 1e308), ("class_sum", 1e300), ("class_sum", -1e308)],
)
def test_sums_that_no_images_can_have_are_refused(name: str, value: float) -> None:
    data, sites = _uneven(7, 50, 4, classes=3, sites=1)
    learner, site = _learner(data), next(iter(sites.values()))
    state = learner.update(learner.start(), learner.contribute(site, learner.start()))
    sums = learner.contribute(site, state)
    forged = {**sums.arrays, name: np.full_like(sums.arrays[name], value)}
    with pytest.raises(ContributionError, match="no images can have the sums"):
        learner.update(state, Contribution(sums.count, forged))
    if (name, value) != ("gram", 1e308):
        with pytest.raises(ContributionError, match=name):
            learner.verify("gram", Contribution(sums.count, forged))


def test_a_fold_that_holds_all_images_is_refused() -> None:
    data, sites = _uneven(7, 50, 4, classes=3, sites=2)
    folds = {name: replace(site, fold=np.zeros_like(site.y)) for name, site in sites.items()}
    learner = make_learner("ridge", data.problem, "folds=2 search=grid:1e-3:10:5")
    with pytest.raises(ContributionError, match="a fold holds all training images"):
        fit_sites(learner, folds)
