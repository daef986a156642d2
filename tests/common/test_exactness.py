"""Every learner over any partition is scikit-learn's estimator on the pooled features."""

from __future__ import annotations

from functools import cache
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone

from common.learners import (
    LdaHead,
    LogisticHead,
    NearestMeanHead,
    RidgeHead,
    SvmHead,
    learner_of,
)
from common.learners.linear_head import LinearHead
from common.learners.total import Total
from tests.common.learner_cases import (
    PARTITIONS,
    Pooled,
    Sites,
    federations,
    fit,
    largest,
    pooled,
    run,
)
from tests.common.pooled_reference import Reference, compare, reference

FIVE = pooled(1, n=300, dimension=12, classes=5)
THREE = pooled(2, n=240, dimension=20, classes=3)
TWO = pooled(3, n=200, dimension=15, classes=2)

RFF: dict[str, Any] = {"kernel": "rff", "components": 40}
NYSTROEM: dict[str, Any] = {"kernel": "nystroem", "components": 25, "pca": 6}

CASES: list[tuple[LinearHead, Pooled]] = [
    (NearestMeanHead(), FIVE),
    (NearestMeanHead(priors="empirical"), THREE),
    (NearestMeanHead(priors="empirical"), TWO),
    (NearestMeanHead(pca=4), TWO),
    (LdaHead(shrinkage=0.2), FIVE),
    (LdaHead(shrinkage=0.2, priors="uniform", pca=5), THREE),
    (LdaHead(), THREE),
    (LdaHead(priors="uniform"), FIVE),
    (LdaHead(pca=7), TWO),
    (RidgeHead(alpha_per_image=1e-3), THREE),
    (RidgeHead(alpha_per_image=0.1, class_weight="none"), FIVE),
    (RidgeHead(alpha_per_image=0.01), TWO),
    (RidgeHead(pca=5), FIVE),
    (RidgeHead(alpha_per_image=0.01, **RFF, gamma=0.02), THREE),
    (RidgeHead(alpha_per_image=1e-3, **NYSTROEM), FIVE),
    (LogisticHead(solver="newton"), FIVE),
    (LogisticHead(alpha_per_image=1e-3, class_weight="none"), THREE),
    (LogisticHead(alpha_per_image=0.01), TWO),
    (LogisticHead(alpha_per_image=0.01, solver="lbfgs"), FIVE),
    (LogisticHead(alpha_per_image=1.0, pca=6), THREE),
    (LogisticHead(alpha_per_image=0.01, l1_ratio=0.5), THREE),
    (LogisticHead(alpha_per_image=0.01, l1_ratio=0.5, class_weight="none"), TWO),
    (LogisticHead(alpha_per_image=0.01, l1_ratio=1.0), FIVE),
    (LogisticHead(alpha_per_image=0.1, l1_ratio=1.0, pca=6, class_weight="none"), THREE),
    (SvmHead(solver="newton"), FIVE),
    (SvmHead(alpha_per_image=1e-3, class_weight="none"), TWO),
    (SvmHead(alpha_per_image=0.01, solver="lbfgs"), THREE),
    (SvmHead(alpha_per_image=1.0, solver="lbfgs", class_weight="none", pca=5), FIVE),
    (SvmHead(alpha_per_image=0.01, **RFF), FIVE),
    (SvmHead(alpha_per_image=0.01, **NYSTROEM), TWO),
]


def _name(value: Any) -> str:
    return str(value) if isinstance(value, LinearHead) else f"{len(value.classes)}"


over_cases = pytest.mark.parametrize(("head", "data"), CASES, ids=_name)


@cache
def _reference(head: LinearHead, data: Pooled) -> Reference:
    sites = data.sites(PARTITIONS["one"](data))
    return reference(head, data, fit(clone(head), data, sites))


@over_cases
@pytest.mark.parametrize("partition", PARTITIONS)
def test_over_any_partition_it_is_the_pooled_fit(
    head: LinearHead, data: Pooled, partition: str
) -> None:
    sites = data.sites(PARTITIONS[partition](data))
    compare(fit(clone(head), data, sites), _reference(head, data), data)


@over_cases
@pytest.mark.parametrize("partition", ["acquisition", "iid"])
def test_the_comparison_fails_when_a_site_is_counted_twice(
    head: LinearHead, data: Pooled, partition: str
) -> None:
    sites = data.sites(PARTITIONS[partition](data))
    state, _ = run(learner_of(head, data.problem), sites, [*sites, largest(sites)])
    wrong = clone(head).set_fitted(state.arrays, np.array(data.classes))
    with pytest.raises(AssertionError, match="coefficients differ"):
        compare(wrong, _reference(head, data), data)


HEADS: list[LinearHead] = [
    NearestMeanHead(priors="empirical"),
    LdaHead(),
    RidgeHead(alpha_per_image=0.1),
    LogisticHead(),
    SvmHead(),
]


@pytest.mark.parametrize("head", HEADS, ids=_name)
@settings(max_examples=30)
@given(federation=federations())
def test_an_image_at_two_sites_counts_twice_and_an_empty_site_for_nothing(
    head: LinearHead, federation: tuple[Pooled, Sites]
) -> None:
    data, sites = federation
    compare(fit(clone(head), data, sites), reference(head, data), data)


@pytest.mark.parametrize("head", HEADS, ids=_name)
@settings(max_examples=20)
@given(federation=federations(), order=st.randoms(use_true_random=False))
def test_the_order_of_the_sites_does_not_matter(
    head: LinearHead, federation: tuple[Pooled, Sites], order: Random
) -> None:
    data, sites = federation
    names = list(sites)
    order.shuffle(names)
    first = fit(clone(head), data, sites)
    renamed = {f"{place:03}": sites[name] for place, name in enumerate(names)}
    added, _ = run(learner_of(head, data.problem), sites, names)
    others = [
        fit(clone(head), data, renamed),
        clone(head).set_fitted(added.arrays, np.array(data.classes)),
    ]
    for other in others:
        for found, expected in ((other.coef_, first.coef_), (other.intercept_, first.intercept_)):
            assert np.linalg.norm(found - expected) <= 1e-12 * np.linalg.norm(expected)


@pytest.mark.parametrize("seed", range(3))
def test_hundreds_of_sites_add_up_to_the_same_bits_in_any_order(seed: int) -> None:
    learner, sites = learner_of(RidgeHead(), FIVE.problem), FIVE.sites(np.arange(len(FIVE.y)))
    state = learner.start()
    while not state.done:
        sums = {name: learner.contribute(site, state) for name, site in sites.items()}
        totals = []
        for order in (sorted(sites), np.random.default_rng(seed).permutation(list(sites))):
            total = Total()
            for name in order:
                total.add(sums[name])
            totals.append(total.value())
        first, second = totals
        for array, expected in first.arrays.items():
            # Without compensation it is some hundred units in the last place.
            off = np.abs(second.arrays[array] - expected)
            assert (off <= np.spacing(np.abs(expected))).all()
        state = learner.update(state, first)


@pytest.mark.parametrize("missing", [[2], [0, 2, 4]])
@pytest.mark.parametrize("head", HEADS, ids=_name)
def test_a_class_that_no_site_has_leaves_the_fit_of_the_others(
    head: LinearHead, missing: list[int]
) -> None:
    kept = ~np.isin(FIVE.y, missing)
    data = Pooled(FIVE.x[kept], FIVE.y[kept], FIVE.classes, FIVE.probe)
    fitted = fit(clone(head), data, data.sites(PARTITIONS["iid"](data)))
    present = [name for label, name in enumerate(FIVE.classes) if label not in missing]
    assert fitted.classes_.tolist() == present
    assert fitted.predict_proba(data.probe).shape == (len(data.probe), len(present))
    compare(fitted, reference(head, data), data)
