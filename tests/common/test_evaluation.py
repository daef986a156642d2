"""Evaluation sums against scikit-learn's metrics on pooled predictions."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    roc_auc_score,
)

from common.errors import ContributionError
from common.evaluation import (
    SCORE_BINS,
    binned_macro_auc,
    class_probabilities,
    evaluation_spec,
    evaluation_sums,
    metrics_of_confusion,
)
from common.learners.base import add, check_arrays
from common.learners.ridge import RidgeHead

CLASSES = ("bcc", "df", "mel", "nv")


def _drawn(seed: int, n: int, sharpness: float) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    y = rng.choice(4, size=n, p=rng.dirichlet(np.full(4, 0.7))).astype(np.intp)
    scores = rng.normal(size=(n, 4)) + np.eye(4)[y]
    return y, softmax(sharpness * scores, axis=1)


@settings(deadline=None, max_examples=80)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 120),
    sharpness=st.sampled_from([0.05, 1.0, 20.0]),
    sites=st.integers(1, 4),
)
def test_sums_over_sites_give_scikit_learns_pooled_metrics(
    seed: int, n: int, sharpness: float, sites: int
) -> None:
    y, probabilities = _drawn(seed, n, sharpness)
    site_of = np.random.default_rng(seed).integers(0, sites, n)
    total = None
    for site in range(sites):
        member = site_of == site
        sums = evaluation_sums(y[member], probabilities[member])
        check_arrays(sums.arrays, evaluation_spec(4), sums.count)
        total = add(total, sums)
    assert total is not None
    assert total.count == n
    confusion = total.arrays["confusion"]
    predicted = probabilities.argmax(axis=1)
    np.testing.assert_array_equal(confusion, confusion_matrix(y, predicted, labels=range(4)))

    auc = binned_macro_auc(total.arrays["score_bins"])
    metrics = metrics_of_confusion(confusion, auc, CLASSES)
    assert metrics["n"] == n
    assert metrics["accuracy"] == pytest.approx(accuracy_score(y, predicted), abs=1e-12)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "y_pred contains classes not in y_true")
        warnings.filterwarnings("ignore", "A single label was found")
        expected = balanced_accuracy_score(y, predicted)
    assert metrics["balanced_accuracy"] == pytest.approx(expected, abs=1e-12)
    assert metrics["classes_absent"] == [CLASSES[i] for i in range(4) if i not in y]

    exact, bound = [], []
    for label in range(4):
        own = y == label
        if own.any() and not own.all():
            exact.append(roc_auc_score(own, probabilities[:, label]))
            pairs = own.sum() * (~own).sum()
            bound.append(_pairs_in_one_bin(probabilities[:, label], own) / (2 * pairs))
    if not exact:
        assert auc is None
    else:
        assert auc is not None
        assert abs(auc - np.mean(exact)) <= np.mean(bound) + 1e-12


def _pairs_in_one_bin(scores: NDArray[np.float64], own: NDArray[np.bool_]) -> int:
    bins = [min(int(score * SCORE_BINS), SCORE_BINS - 1) for score in scores]
    return sum(bins[i] == bins[j] for i in np.flatnonzero(own) for j in np.flatnonzero(~own))


def test_scores_in_bins_of_their_own_give_the_exact_auc() -> None:
    y = np.array([0, 1, 0, 1, 1, 0, 1], dtype=np.intp)
    second = np.array([0.1, 0.9, 0.4, 0.3, 0.6, 0.7, 0.8])
    sums = evaluation_sums(y, np.stack([1 - second, second], axis=1))
    # Of 4 x 3 pairs, (0.3, 0.4), (0.3, 0.7) and (0.6, 0.7) are the wrong way round.
    assert binned_macro_auc(sums.arrays["score_bins"]) == pytest.approx(9 / 12)
    assert roc_auc_score(y, second) == pytest.approx(9 / 12)


def test_equal_scores_count_half() -> None:
    y = np.array([0, 1, 1, 0], dtype=np.intp)
    sums = evaluation_sums(y, np.full((4, 2), 0.5))
    assert binned_macro_auc(sums.arrays["score_bins"]) == 0.5


def test_scores_of_zero_and_one_have_bins() -> None:
    sums = evaluation_sums(np.array([0, 1]), np.array([[1.0, 0.0], [0.0, 1.0]]))
    bins = sums.arrays["score_bins"]
    assert bins[0, 1, SCORE_BINS - 1] == bins[0, 0, 0] == 1
    assert bins[1, 1, SCORE_BINS - 1] == bins[1, 0, 0] == 1
    assert binned_macro_auc(bins) == 1.0


def test_without_images_there_are_no_metrics() -> None:
    sums = evaluation_sums(np.zeros(0, dtype=np.intp), np.zeros((0, 4)))
    check_arrays(sums.arrays, evaluation_spec(4), 0)
    assert binned_macro_auc(sums.arrays["score_bins"]) is None
    metrics = metrics_of_confusion(sums.arrays["confusion"], None, CLASSES)
    assert metrics["n"] == 0
    assert metrics["accuracy"] is metrics["balanced_accuracy"] is metrics["macro_auc"] is None
    assert metrics["classes_absent"] == list(CLASSES)


def test_an_absent_class_is_not_counted_as_never_found() -> None:
    confusion = np.array([[3, 1, 0, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]])
    metrics = metrics_of_confusion(confusion, None, CLASSES)
    assert metrics["balanced_accuracy"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert metrics["accuracy"] == pytest.approx(4 / 6)
    assert metrics["classes_absent"] == ["df", "nv"]
    assert metrics["confusion"] == confusion.tolist()


@pytest.mark.parametrize("name", ["confusion", "score_bins"])
def test_sums_that_count_other_images_are_refused(name: str) -> None:
    y, probabilities = _drawn(0, 50, 1.0)
    sums = evaluation_sums(y, probabilities)
    forged = sums.arrays[name].copy()
    forged.flat[0] += 1
    with pytest.raises(ContributionError, match=f"{name}: sums to "):
        check_arrays({**sums.arrays, name: forged}, evaluation_spec(4), 50)


def test_probabilities_cover_all_classes_in_the_order_asked_for() -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(30, 3)), rng.choice(["nv", "bcc"], 30)
    head = RidgeHead().fit(x, labels)
    found = class_probabilities(head, ("nv", "mel", "bcc"), x)
    np.testing.assert_array_equal(found[:, 1], 0.0)
    np.testing.assert_array_equal(found[:, [2, 0]], head.predict_proba(x))
    assert class_probabilities(head, ("nv", "mel", "bcc"), x[:0]).shape == (0, 3)
