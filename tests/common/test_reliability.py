"""Calibration: reliability curve and Brier score, against scikit-learn and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss

from common.metrics.calibration import (
    RELIABILITY_BINS,
    brier_score,
    expected_calibration_error,
    reliability,
)
from common.metrics.statistics import Histogram, Statistics, image_statistics
from tests.common.metric_cases import CLASSES, Case, make_case


def _sums(case: Case) -> Statistics:
    nobody = np.zeros(len(CLASSES), bool)
    return image_statistics(case.y, case.predicted, case.probabilities, nobody, case.weights)


@pytest.mark.parametrize("steps", [0, 20])
def test_each_resample_has_scikit_learns_weighted_brier_score(steps: int) -> None:
    case = make_case(5, steps=steps)
    # Rounded probabilities add up to about 1; scikit-learn asks for exactly 1.
    rows = case.probabilities / case.probabilities.sum(axis=1, keepdims=True)
    case = Case(case.lesion, case.y, case.predicted, rows, case.weights)
    found = brier_score(_sums(case).scores)
    expected = [
        brier_score_loss(
            case.y, rows, sample_weight=row, labels=range(len(CLASSES)), scale_by_half=False
        )
        for row in case.weights
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert np.ptp(found) > 0


def test_the_brier_score_goes_from_zero_to_two() -> None:
    y = np.array([0, 1], np.intp)
    for probabilities, expected in ((np.eye(2), 0.0), (np.eye(2)[::-1], 2.0)):
        predicted = probabilities.argmax(axis=1)
        once = np.ones((1, 2), np.uint8)
        sums = image_statistics(y, predicted, probabilities, np.zeros(2, bool), once)
        assert brier_score(sums.scores).tolist() == [expected]


def test_the_curve_is_scikit_learns() -> None:
    case = make_case(6, images=400)
    curve = reliability(_sums(case).confidence)
    confidence = case.probabilities.max(axis=1)
    right, mean = calibration_curve(case.y == case.predicted, confidence, n_bins=RELIABILITY_BINS)
    filled = curve.count[0] > 0
    np.testing.assert_allclose(curve.right[0, filled] / curve.count[0, filled], right)
    np.testing.assert_allclose(curve.confidence[0, filled] / curve.count[0, filled], mean)


def test_each_resample_has_the_calibration_error_added_up_by_hand() -> None:
    case = make_case(7)
    found = expected_calibration_error(reliability(_sums(case).confidence))
    confidence = case.probabilities.max(axis=1)
    for row, weight in enumerate(case.weights):
        total = 0.0
        for lower in range(RELIABILITY_BINS):
            inside = [
                i
                for i, p in enumerate(confidence)
                if lower / RELIABILITY_BINS < p <= (lower + 1) / RELIABILITY_BINS
            ]
            sure = math.fsum(weight[i] * confidence[i] for i in inside)
            right = math.fsum(weight[i] * (case.y[i] == case.predicted[i]) for i in inside)
            total += abs(sure - right)
        assert found[row] == pytest.approx(total / weight.sum(), rel=1e-10)


def test_a_bin_includes_its_upper_edge_and_the_lowest_bin_zero() -> None:
    values = np.array([0.0, 0.2, np.nextafter(0.2, 1.0), 1.0])
    counts = np.zeros((1, 2, 4))
    counts[0, 1] = 1.0
    filled = np.flatnonzero(reliability(Histogram(values, counts)).count[0])
    # 0.2 is the upper edge of the third bin of fifteen.
    assert filled.tolist() == [0, 2, 3, 14]


def test_wrong_and_right_weigh_the_same_in_a_bin() -> None:
    # Sure at 0.8 and 3 of 4 right: a gap of 0.05.
    histogram = Histogram(np.array([0.8]), np.array([[[1.0], [3.0]], [[4.0], [12.0]]]))
    found = expected_calibration_error(reliability(histogram))
    np.testing.assert_allclose(found, [0.05, 0.05])


def test_without_images_nothing_is_told() -> None:
    nothing = Histogram(np.zeros(0), np.zeros((2, 2, 0)))
    curve = reliability(nothing)
    assert curve.count.shape == (2, RELIABILITY_BINS)
    assert not curve.count.any()
    assert np.isnan(expected_calibration_error(curve)).all()
    assert np.isnan(brier_score([nothing, nothing])).all()
