"""Sums over images, against numpy and scikit-learn a row at a time."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from common.metrics import Histogram, image_statistics
from tests.common.metric_cases import CLASSES, MALIGNANT, Case, make_case

ILL = np.isin(CLASSES, MALIGNANT)


def _check(
    histogram: Histogram,
    score: NDArray[np.float64],
    kind: NDArray[np.bool_],
    weights: NDArray[np.uint8],
) -> None:
    values = np.unique(score)
    np.testing.assert_array_equal(histogram.values, values)
    for row, weight in enumerate(weights):
        for side in (False, True):
            expected = [weight[(score == v) & (kind == side)].sum(dtype=int) for v in values]
            assert histogram.counts[row, int(side)].tolist() == expected


@pytest.mark.parametrize("steps", [0, 10])
def test_a_histogram_has_the_weight_of_each_value_by_kind(steps: int) -> None:
    case = make_case(10, steps=steps)
    sums = image_statistics(case.y, case.predicted, case.probabilities, ILL, case.weights)
    for label, histogram in enumerate(sums.scores):
        _check(histogram, case.probabilities[:, label], case.y == label, case.weights)
    confidence = case.probabilities[np.arange(len(case.y)), case.predicted]
    _check(sums.confidence, confidence, case.y == case.predicted, case.weights)
    assert sums.malignant is not None
    together = case.probabilities[:, ILL].sum(axis=1)
    _check(sums.malignant, together, ILL[case.y], case.weights)


def test_the_confusion_matrix_is_scikit_learns_in_each_resample() -> None:
    case = make_case(11, without=(2,))
    sums = image_statistics(case.y, case.predicted, case.probabilities, ILL, case.weights)
    for row, weight in enumerate(case.weights):
        expected = confusion_matrix(
            case.y, case.predicted, labels=range(len(CLASSES)), sample_weight=weight
        )
        np.testing.assert_array_equal(sums.confusion[row], expected)


def test_a_cohort_that_tells_no_malignant_classes_has_no_sums_of_them() -> None:
    case = make_case(12)
    nobody = np.zeros(len(CLASSES), bool)
    sums = image_statistics(case.y, case.predicted, case.probabilities, nobody, case.weights)
    assert sums.malignant is None


def test_a_weighting_is_the_same_as_repeating_images() -> None:
    case = make_case(13, images=40, steps=8)
    for weight in case.weights[1:]:
        again = np.repeat(np.arange(40), weight)
        once = np.ones((1, len(again)), np.uint8)
        repeated = image_statistics(
            case.y[again], case.predicted[again], case.probabilities[again], ILL, once
        )
        weighted = image_statistics(
            case.y, case.predicted, case.probabilities, ILL, weight[None, :]
        )
        np.testing.assert_array_equal(weighted.confusion, repeated.confusion)
        some = weighted.confidence.counts.sum(axis=(0, 1)) > 0
        np.testing.assert_array_equal(weighted.confidence.values[some], repeated.confidence.values)
        np.testing.assert_array_equal(
            weighted.confidence.counts[:, :, some], repeated.confidence.counts
        )


def test_no_images_have_empty_sums() -> None:
    case = _without_images(4)
    sums = image_statistics(case.y, case.predicted, case.probabilities, ILL, case.weights)
    assert sums.confusion.shape == (4, 4, 4)
    assert not sums.confusion.any()
    for histogram in (*sums.scores, sums.confidence, sums.malignant):
        assert histogram is not None
        assert histogram.values.shape == (0,)
        assert histogram.counts.shape == (4, 2, 0)


def _without_images(rows: int) -> Case:
    none = np.zeros(0, np.intp)
    return Case(
        lesion=np.zeros(0, np.str_),
        y=none,
        predicted=none,
        probabilities=np.zeros((0, len(CLASSES))),
        weights=np.ones((rows, 0), np.uint8),
    )


def test_cumulative_sums_leave_the_bin_out_below_it_and_have_it_up_to_it() -> None:
    counts = np.array([[[1.0, 2, 4], [8, 16, 32]]])
    histogram = Histogram(np.array([0.1, 0.2, 0.3]), counts)
    assert histogram.total.tolist() == [[7, 56]]
    assert histogram.up_to.tolist() == [[[1, 3, 7], [8, 24, 56]]]
    assert histogram.others_below.tolist() == [[0, 1, 3]]
