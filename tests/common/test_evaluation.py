"""Evaluation sums against scikit-learn's metrics on pooled predictions."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

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

from common.disclosure import EXACT, GUARDED
from common.errors import ContributionError
from common.evaluation import (
    SCORE_BINS,
    binned_macro_auc,
    check_evaluation,
    class_probabilities,
    evaluation_spec,
    evaluation_sums,
    metrics_of_confusion,
)
from common.learners.base import Contribution, check_arrays
from common.learners.ridge import RidgeHead

CLASSES = ("bcc", "df", "mel", "nv")


def _checked(sums: Contribution) -> Contribution:
    check_arrays(sums.arrays, evaluation_spec(4), sums.count)
    check_evaluation(sums)
    return sums


def _balanced(y: NDArray[np.intp], predicted: NDArray[np.intp]) -> float:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "y_pred contains classes not in y_true")
        warnings.filterwarnings("ignore", "A single label was found")
        return float(balanced_accuracy_score(y, predicted))


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
    parts = [
        _checked(evaluation_sums(y[site_of == site], probabilities[site_of == site]))
        for site in range(sites)
    ]
    assert sum(part.count for part in parts) == n
    confusion = np.sum([part.arrays["confusion"] for part in parts], axis=0)
    predicted = probabilities.argmax(axis=1)
    np.testing.assert_array_equal(confusion, confusion_matrix(y, predicted, labels=range(4)))

    auc = binned_macro_auc(np.sum([part.arrays["score_bins"] for part in parts], axis=0))
    metrics = metrics_of_confusion(confusion, auc, CLASSES)
    assert metrics["n"] == n
    assert metrics["accuracy"] == pytest.approx(accuracy_score(y, predicted), abs=1e-12)
    assert metrics["balanced_accuracy"] == pytest.approx(_balanced(y, predicted), abs=1e-12)
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
    sums = _checked(evaluation_sums(np.zeros(0, dtype=np.intp), np.zeros((0, 4)), GUARDED))
    assert sums.count == 0
    assert binned_macro_auc(sums.arrays["score_bins"]) is None
    metrics = metrics_of_confusion(sums.arrays["confusion"], None, CLASSES)
    assert metrics["n"] == 0
    assert metrics["accuracy"] is metrics["balanced_accuracy"] is metrics["macro_auc"] is None
    assert metrics["accuracy_bounds"] is metrics["balanced_accuracy_bounds"] is None
    assert metrics["images_withheld"] == 0
    assert metrics["classes_absent"] == list(CLASSES)


def test_an_absent_class_is_not_counted_as_never_found() -> None:
    confusion = np.array([[3, 1, 0, 0], [0, 0, 0, 0], [1, 0, 1, 0], [0, 0, 0, 0]])
    metrics = metrics_of_confusion(confusion, None, CLASSES)
    assert metrics["balanced_accuracy"] == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert metrics["accuracy"] == pytest.approx(4 / 6)
    assert metrics["classes_absent"] == ["df", "nv"]
    assert metrics["confusion"] == confusion.tolist()


# Withheld cells


def test_bounds_are_those_computed_by_hand() -> None:
    # Of 20 images of bcc, 12 are right and 8 withheld, perhaps the diagonal's; of 10 of mel, 4
    # are right, 1 wrong and 5 withheld off the diagonal. No image of df, no doubt about nv.
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
    assert metrics["classes_absent"] == ["df"]
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


def test_an_exact_evaluation_is_what_it_was_and_withholds_nothing() -> None:
    y, probabilities = _drawn(3, 90, 1.0)
    sums = _checked(evaluation_sums(y, probabilities))
    assert not sums.arrays["withheld"].any()
    explicit = _checked(evaluation_sums(y, probabilities, EXACT))
    for name, array in sums.arrays.items():
        np.testing.assert_array_equal(explicit.arrays[name], array)
    plain = metrics_of_confusion(sums.arrays["confusion"], 0.7, CLASSES)
    support = sums.arrays["score_bins"][:, 1].sum(axis=1)
    told = metrics_of_confusion(
        sums.arrays["confusion"], 0.7, CLASSES, support, sums.arrays["withheld"]
    )
    assert told == plain
    assert plain["accuracy_bounds"] == [plain["accuracy"]] * 2
    assert plain["balanced_accuracy_bounds"] == [plain["balanced_accuracy"]] * 2
    assert plain["images_withheld"] == 0


# Sums that are not those of any images


Arrays = dict[str, NDArray[Any]]
Change = Callable[[Arrays], object]


def _guarded() -> Contribution:
    """Give an evaluation of which row 0 withholds 2 and 8 images, and class 3 has none."""
    counts = np.array([[30, 2, 0, 8], [0, 10, 0, 0], [0, 0, 20, 7], [0, 0, 0, 0]])
    y, predicted = np.repeat(np.indices((4, 4)).reshape(2, 16), counts.ravel(), axis=1)
    sums = evaluation_sums(y, 0.1 + 0.6 * np.eye(4)[predicted], GUARDED)
    np.testing.assert_array_equal(np.argwhere(sums.arrays["withheld"]), [[0, 1], [0, 3]])
    return sums


def _plus(name: str, by: int, *cells: tuple[int, ...]) -> Change:
    return lambda arrays: [arrays[name].__setitem__(c, arrays[name][c] + by) for c in cells]


def _both(first: Change, second: Change) -> Change:
    return lambda arrays: (first(arrays), second(arrays))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_plus("withheld", 1, (0, 1)), "withheld: holds values other than 0 and 1"),
        (_plus("withheld", 1, (2, 2)), "confusion: a withheld cell is not 0"),
        (_plus("confusion", 2, (0, 1)), "confusion: a withheld cell is not 0"),
        (_plus("withheld", -1, (0, 1), (0, 3)), "confusion: row 0 does not sum to its class's"),
        (_plus("confusion", -1, (2, 3)), "confusion: row 2 does not sum to its class's images"),
        (_plus("confusion", 1, (3, 3)), "confusion: row 3 does not sum to its class's images"),
        (_plus("confusion", 10, (0, 0)), "confusion: row 0 has no image left for withheld"),
        (_plus("withheld", 1, (2, 0)), "confusion: row 2 has no image left for withheld cells"),
        # Four times 2**62 is 0 in int64.
        (
            _plus("confusion", 2**62, *((1, column) for column in range(4))),
            "confusion: row 1 does not sum to its class's images",
        ),
        (
            _plus("score_bins", 2**62, *((1, 0, column) for column in range(4))),
            "score_bins: class 1 does not count each image once",
        ),
        # Each adds up to all that `check_arrays` asks for.
        (
            _both(_plus("score_bins", 1, (1, 0, 0)), _plus("score_bins", -1, (2, 0, 102))),
            "score_bins: class 1 does not count each image once",
        ),
        (
            _both(
                _both(_plus("score_bins", 1, (1, 0, 0)), _plus("score_bins", -1, (1, 1, 716))),
                _plus("confusion", -1, (1, 1)),
            ),
            "score_bins: the classes' own images are not all images",
        ),
    ],
)
def test_sums_that_contradict_each_other_are_refused(change: Change, message: str) -> None:
    sums = _checked(_guarded())
    forged = {name: array.copy() for name, array in sums.arrays.items()}
    change(forged)
    assert all((array >= 0).all() for array in forged.values())
    with pytest.raises(ContributionError, match=message) as caught:
        check_evaluation(Contribution(sums.count, forged))
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 100


def test_sums_over_another_number_of_images_are_refused() -> None:
    sums = _guarded()
    for count in (0, sums.count - 1, sums.count + 1):
        with pytest.raises(ContributionError, match="class 0 does not count each image once"):
            check_evaluation(Contribution(count, sums.arrays))
        with pytest.raises(ContributionError, match="score_bins: sums to "):
            check_arrays(sums.arrays, evaluation_spec(4), count)


def test_probabilities_cover_all_classes_in_the_order_asked_for() -> None:
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(30, 3)), rng.choice(["nv", "bcc"], 30)
    head = RidgeHead().fit(x, labels)
    found = class_probabilities(head, ("nv", "mel", "bcc"), x)
    np.testing.assert_array_equal(found[:, 1], 0.0)
    np.testing.assert_array_equal(found[:, [2, 0]], head.predict_proba(x))
    assert class_probabilities(head, ("nv", "mel", "bcc"), x[:0]).shape == (0, 3)
