"""Cells of the comparison, on the embedded cohort: a pairwise-covering few; if slow, all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from common.cohort import load_cohort
from common.feature_cache import default_cache
from common.features import no_progress
from common.sources.embedded import embedded_cohort
from simulations.studies.base import Plan
from simulations.studies.compare import DEFAULT_TREATMENTS, FEDERATED, STUDY
from simulations.studies.fine_tuning import TUNED
from simulations.studies.fit import BASELINE, Fit
from simulations.studies.lab import Lab, make_bench
from simulations.studies.models import run_fit
from simulations.studies.open_lab import open_lab
from tests.simulations.studies.study_lab import Shown, options

LEARNERS = (
    "logistic pca=16",
    "ridge",
    "lda",
    "svm pca=16",
    "svm kernel=rff pca=16 components=64",
    "forest trees=20 min_leaf=3",
    "xgboost rounds=6",
    "soft-vote members=logistic:pca=16,lda,ridge",
)
# Small images are quick.
BACKBONES = ("efficientnet_lite0+view:112x84", "efficientnet_lite0+view:84x63")
MORE_BACKBONES = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
VIEWS = (0, 1)
STRATEGIES, TRAIN = ("fedavg", "shared-moments"), "plan=3:1 steps=2 views=1"
WELL_ABOVE_A_GUESS = 0.6


def covering(axes: Sequence[Sequence[object]]) -> list[tuple[object, ...]]:
    """Choose rows of which every two axes' every two values stand together, greedily."""
    rows = list(product(*axes))
    pairs = {row: set(combinations(enumerate(row), 2)) for row in rows}
    missing = set().union(*pairs.values())
    chosen = []
    while missing:
        best = max(rows, key=lambda row: len(pairs[row] & missing))
        chosen.append(best)
        missing -= pairs[best]
    return chosen


def heads(backbones: Sequence[str]) -> list[Fit]:
    plan = Plan(("-",), LEARNERS, (1,), backbones=tuple(backbones), views=VIEWS)
    return [fit for fit in STUDY.fits(plan) if fit.learner != BASELINE]


def _values(fit: Fit) -> tuple[object, ...]:
    about = STUDY.label(fit, FEDERATED).about
    return fit.learner, about["treatment"], about["backbone"], about["views"]


FEW = {
    _values(fit): fit
    for fit in heads(BACKBONES)
    if _values(fit) in set(covering((LEARNERS, DEFAULT_TREATMENTS, BACKBONES, VIEWS)))
}

EVERY = {_values(fit): fit for fit in heads((*BACKBONES, *MORE_BACKBONES))}


def make(fits: list[Fit], out: Path) -> Lab:
    path = embedded_cohort(default_cache(), no_progress)
    chosen = replace(options(out), cache=default_cache(), backbone=BACKBONES[0])
    return open_lab(load_cohort(path), chosen, fits, Shown().display())[0]


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return make(heads(BACKBONES), tmp_path_factory.mktemp("few"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return make(list(EVERY.values()), tmp_path_factory.mktemp("all"))


def check(lab: Lab, fit: Fit, model: str, folder: Path) -> None:
    bench = make_bench(lab, fit)
    result = run_fit(bench, folder)
    test = np.flatnonzero(bench.split == "test")
    np.testing.assert_array_equal(result.rows, test)
    p = result.probabilities[model]
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-6)
    assert (p >= 0).all()
    y = lab.cohort.y[test]
    areas = [roc_auc_score(y == label, p[:, label]) for label in np.unique(y)]
    assert np.mean(areas) > WELL_ABOVE_A_GUESS


def test_the_few_cells_hold_every_two_values_together() -> None:
    assert 24 <= len(FEW) <= 30
    assert len(EVERY) == 5 * 8 * 3 * 2
    for first, second in combinations(range(4), 2):
        seen = {(row[first], row[second]) for row in FEW}
        axes = (LEARNERS, DEFAULT_TREATMENTS, BACKBONES, VIEWS)
        assert len(seen) == len(axes[first]) * len(axes[second])


@pytest.mark.parametrize("values", FEW, ids=lambda values: ", ".join(map(str, values)))
def test_a_cell_gives_probabilities_that_are_better_than_a_guess(
    values: tuple[object, ...], embedded: Lab, tmp_path: Path
) -> None:
    check(embedded, FEW[values], FEDERATED, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(3600)  # the first waits for all features of every backbone
@pytest.mark.parametrize("values", EVERY, ids=lambda values: ", ".join(map(str, values)))
def test_every_cell_gives_probabilities_that_are_better_than_a_guess(
    values: tuple[object, ...], whole: Lab, tmp_path: Path
) -> None:
    check(whole, EVERY[values], FEDERATED, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_fine_tuned_cell_gives_probabilities_that_are_better_than_a_guess(
    strategy: str, embedded: Lab, tmp_path: Path
) -> None:
    plan = Plan(("-",), (), (1,), training=TRAIN, backbones=BACKBONES[:1], strategies=STRATEGIES)
    plan = replace(plan, tuned=BACKBONES[:1])
    fits = [fit for fit in STUDY.fits(plan) if fit.learner == strategy]
    check(embedded, fits[0], TUNED, tmp_path)
