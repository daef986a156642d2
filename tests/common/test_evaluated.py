"""Metrics from sums: those of the pooled predictions, with the same intervals, or none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    brier_score_loss,
    f1_score,
    roc_auc_score,
)

from common.disclosure import GUARDED
from common.evaluated import metrics_of_confusion, metrics_of_sums
from common.evaluation import evaluation_sums
from common.learners import LINEAR, make_learner
from common.learners.base import Contribution, Problem, SiteData
from common.learners.composed import FITTED
from common.learners.total import Total
from common.metrics import lesion_weights, make_interval, measure
from common.metrics.score_bins import bin_values, score_bin
from tests.common.metric_cases import CLASSES, MALIGNANT, Case, make_case

ILL = np.isin(CLASSES, MALIGNANT)
K = len(CLASSES)
# Computed from the matrix alone: summed over sites, these are those of the pooled images.
OF_THE_MATRIX = {
    *("accuracy", "balanced_accuracy", "macro_specificity", "macro_f1"),
    *("malignant_sensitivity", "malignant_specificity"),
    *(f"{name}:{label}" for name in ("sensitivity", "specificity", "f1") for label in CLASSES),
}


def _total(case: Case, site_of: NDArray[np.intp]) -> Contribution:
    """Add up what sites send that draw their lesions by one key."""
    total = Total()
    for site in np.unique(site_of):
        at = site_of == site
        total.add(
            evaluation_sums(
                case.y[at], case.probabilities[at], malignant=ILL, weights=case.weights[:, at]
            )
        )
    return total.value()


def _exact(case: Case) -> dict[str, NDArray[np.float64]]:
    """Measure the pooled predictions themselves, resample by resample."""
    return measure(
        case.y, case.predicted, case.probabilities, CLASSES, MALIGNANT, case.weights
    ).values()


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32 - 1),
    images=st.integers(1, 150),
    sure=st.sampled_from([0.05, 1.0, 20.0]),
    sites=st.integers(1, 5),
    without=st.sampled_from([(), (0,), (1, 3)]),
)
def test_sums_of_any_sites_give_the_metrics_of_the_pooled_predictions(
    seed: int, images: int, sure: float, sites: int, without: tuple[int, ...]
) -> None:
    case = make_case(seed, images, sure=sure, draws=20, without=without)
    site_of = np.random.default_rng(seed).integers(0, sites, images)
    found, exact = metrics_of_sums(_total(case, site_of), CLASSES, MALIGNANT), _exact(case)
    metrics = found["metrics"]
    assert metrics.keys() == exact.keys()
    for name in metrics.keys() & OF_THE_MATRIX:
        # A lesion's images lie at several sites here; its draws are the same at each.
        expected = make_interval(exact[name]).as_list()
        assert metrics[name] == pytest.approx(expected, abs=1e-9), name
    for label, name in enumerate(CLASSES):
        auc = exact.get(f"auc:{name}", [np.nan])[0]
        if np.isnan(auc):
            assert name not in found["auc_error"]
            assert metrics.get(f"auc:{name}", [None])[0] is None
        else:
            # From scikit-learn, so that no histogram of ours is its own reference.
            auc = roc_auc_score(case.y == label, case.probabilities[:, label])
            assert abs(metrics[f"auc:{name}"][0] - auc) <= found["auc_error"][name] + 1e-12
    present = np.unique(case.y)
    assert found["classes_absent"] == [CLASSES[c] for c in range(K) if c not in present]
    absent = set(found["classes_absent"])
    assert not any(name.rpartition(":")[2] in absent for name in metrics)


def test_metrics_of_sums_are_scikit_learns_to_the_bins_precision() -> None:
    case = make_case(5, 4000, sure=1.5, draws=0)
    found = metrics_of_sums(_total(case, np.arange(4000) % 7), CLASSES, MALIGNANT)
    y, p, predicted = case.y, case.probabilities, case.predicted
    expected = {
        "accuracy": accuracy_score(y, predicted),
        "balanced_accuracy": balanced_accuracy_score(y, predicted),
        "macro_f1": f1_score(y, predicted, average="macro"),
        "malignant_auc": roc_auc_score(ILL[y], p[:, ILL].sum(axis=1)),
        "macro_auc": np.mean([roc_auc_score(y == c, p[:, c]) for c in range(K)]),
        "brier_score": sum(brier_score_loss(y == c, p[:, c]) for c in range(K)),
    }
    for name, value in expected.items():
        exact = name in OF_THE_MATRIX
        assert found["metrics"][name][0] == pytest.approx(value, abs=1e-12 if exact else 5e-4), name
        assert found["metrics"][name][1:] == [None, None]
    assert max(found["auc_error"].values()) < 1e-3
    assert (found["macro_auc"], found["accuracy"]) == (
        found["metrics"]["macro_auc"][0],
        found["metrics"]["accuracy"][0],
    )


@pytest.mark.parametrize(("seed", "sure"), [(1, 0.3), (2, 1.5), (3, 20.0)])
def test_calibration_is_off_by_no_more_than_half_a_bin(seed: int, sure: float) -> None:
    """No score moves further, nor to another bin of the reliability curve, nor does a mean.

    A squared distance a becomes (a +- d)^2; the distances of an image add up to 2 at most.
    """
    values, case = bin_values(), make_case(seed, 900, sure=sure, draws=0)
    half = np.diff(values).max() / 2
    assert half < 6e-4
    p = case.probabilities
    assert np.abs(values[score_bin(p)] - p).max() <= half
    surest = p.max(axis=1)
    assert np.array_equal(np.ceil(surest * 15), np.ceil(values[score_bin(surest)] * 15))
    found = metrics_of_sums(_total(case, np.arange(900) % 3), CLASSES, MALIGNANT)["metrics"]
    exact = _exact(case)
    assert abs(found["calibration_error"][0] - exact["calibration_error"][0]) <= half
    assert abs(found["brier_score"][0] - exact["brier_score"][0]) <= 4 * half + K * half**2


def test_intervals_of_scores_are_those_of_the_pooled_predictions_nearly() -> None:
    case = make_case(8, 900, sure=1.5, draws=200)
    found = metrics_of_sums(_total(case, np.arange(900) % 4), CLASSES, MALIGNANT)["metrics"]
    exact = _exact(case)
    for name, values in exact.items():
        reference = make_interval(values)
        assert reference.low is not None
        assert reference.high is not None
        width = reference.high - reference.low
        if name in OF_THE_MATRIX:
            assert found[name] == pytest.approx(reference.as_list(), abs=1e-9)
        elif not name.startswith("sensitivity_at_95"):
            # A point of a curve jumps from threshold to threshold; areas and means do not.
            assert found[name] == pytest.approx(reference.as_list(), abs=0.08 * width), name


def test_a_lesion_at_two_sites_is_one_cluster_only_by_one_key() -> None:
    """Two images of each lesion, one a site, alike in all: the interval must not shrink."""
    half = make_case(4, 300, draws=400)
    twice = Case(
        np.tile(half.lesion, 2),
        np.tile(half.y, 2),
        np.tile(half.predicted, 2),
        np.tile(half.probabilities, (2, 1)),
        np.tile(half.weights, 2),
    )
    site_of = np.repeat([0, 1], 300)
    alone = metrics_of_sums(_total(half, np.zeros(300, np.intp)), CLASSES, MALIGNANT)
    shared = metrics_of_sums(_total(twice, site_of), CLASSES, MALIGNANT)
    assert shared["metrics"]["accuracy"] == pytest.approx(alone["metrics"]["accuracy"])
    # Drawn apart they would count as twice the evidence.
    other = make_case(4, 300, draws=800).weights[[0, *range(401, 801)]]
    apart = replace(twice, weights=np.hstack([half.weights, other]))
    found = metrics_of_sums(_total(apart, site_of), CLASSES, MALIGNANT)["metrics"]["accuracy"]
    _, low, high = alone["metrics"]["accuracy"]
    assert (found[2] - found[1]) / (high - low) == pytest.approx(np.sqrt(0.5), abs=0.1)


def test_a_cohort_that_does_not_tell_malignant_classes_has_no_metric_of_them() -> None:
    case = make_case(2)
    sums = evaluation_sums(case.y, case.probabilities, weights=case.weights)
    found = metrics_of_sums(sums, CLASSES, ())["metrics"]
    assert found
    assert not any(name.startswith("malignant") for name in found)


@pytest.mark.parametrize("name", [*LINEAR, "lda calibrate=none"])
def test_bins_move_the_area_of_no_learner_by_a_thousandth(name: str) -> None:
    """Uncalibrated scores of LDA are the surest: most lie within 1e-6 of 0 or 1."""
    rng, dimension = np.random.default_rng(11), 100
    centres = 0.6 * rng.normal(size=(K, dimension))

    def images(n: int) -> SiteData:
        y = rng.choice(K, n, p=[0.05, 0.1, 0.15, 0.7]).astype(np.intp)
        return SiteData(centres[y] + rng.standard_t(4, size=(n, dimension)), y)

    key, _, options = name.partition(" ")
    learner = make_learner(key, Problem(CLASSES, dimension), options)
    train, test, state = images(200), images(2500), learner.start()
    while not state.done:
        state = learner.update(state, learner.contribute(train, state))
    assert state.stage == FITTED
    p = learner.head(state).predict_proba(test.x)
    if options:
        assert (np.abs(p - np.rint(p)) < 1e-6).mean() > 0.5
    found = metrics_of_sums(evaluation_sums(test.y, p), CLASSES, ())
    for label, one in enumerate(CLASSES):
        exact = roc_auc_score(test.y == label, p[:, label])
        off = abs(found["metrics"][f"auc:{one}"][0] - exact)
        assert off <= found["auc_error"][one] + 1e-12
        assert off < 1e-3


def test_without_images_there_are_no_metrics() -> None:
    none = np.zeros(0, dtype=np.intp)
    weights = lesion_weights([], 20, b"key")
    sums = evaluation_sums(none, np.zeros((0, 4)), GUARDED, malignant=ILL, weights=weights)
    metrics = metrics_of_sums(sums, CLASSES, MALIGNANT)
    assert metrics["n"] == 0
    assert metrics["accuracy"] is metrics["balanced_accuracy"] is metrics["macro_auc"] is None
    assert metrics["accuracy_bounds"] is metrics["balanced_accuracy_bounds"] is None
    assert metrics["images_withheld"] == 0
    assert metrics["classes_absent"] == list(CLASSES)
    assert metrics["auc_error"] == {}
    assert set(map(tuple, metrics["metrics"].values())) == {(None, None, None)}


def test_an_absent_class_is_not_counted_as_never_found() -> None:
    confusion = np.array([[3, 1, 0, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]])
    metrics = metrics_of_confusion(confusion, None, CLASSES)
    assert metrics["balanced_accuracy"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert metrics["accuracy"] == pytest.approx(4 / 6)
    assert metrics["classes_absent"] == ["bcc", "nv"]
    assert metrics["confusion"] == confusion.tolist()


# Withheld cells


def test_bounds_are_those_computed_by_hand() -> None:
    # Of 20 images of akiec, 12 are right and 8 withheld, perhaps the diagonal's; of 10 of mel, 4
    # are right, 1 wrong and 5 withheld off the diagonal. No image of bcc, no doubt about nv.
    confusion = np.diag([12, 0, 4, 9])
    confusion[2, 0] = 1
    withheld = np.zeros((4, 4), dtype=np.int64)
    withheld[0, 0], withheld[0, 2], withheld[2, 3] = 2, 1, 1
    support = np.array([20, 0, 10, 9])
    metrics = metrics_of_confusion(confusion, 0.5, CLASSES, support, withheld)
    assert metrics["balanced_accuracy_bounds"] == pytest.approx(
        [(12 / 20 + 4 / 10 + 1) / 3, (20 / 20 + 4 / 10 + 1) / 3]
    )
    assert metrics["accuracy_bounds"] == pytest.approx([25 / 39, 33 / 39])
    assert metrics["accuracy"] is metrics["balanced_accuracy"] is None
    assert (metrics["n"], metrics["images_withheld"]) == (39, 13)
    assert metrics["classes_absent"] == ["bcc"]
    assert metrics["macro_auc"] == 0.5


def test_metrics_stay_exact_where_the_diagonal_is_shown() -> None:
    confusion = np.diag([12, 7, 4, 9])
    withheld = np.zeros((4, 4), dtype=np.int64)
    withheld[0, 1:3] = 1
    metrics = metrics_of_confusion(confusion, None, CLASSES, np.array([20, 7, 4, 9]), withheld)
    expected = pytest.approx((12 / 20 + 3) / 4)
    assert metrics["balanced_accuracy"] == expected
    assert metrics["balanced_accuracy_bounds"] == [metrics["balanced_accuracy"]] * 2
    assert metrics["accuracy_bounds"] == [metrics["accuracy"]] * 2 == [32 / 40] * 2
    assert metrics["images_withheld"] == 8
