"""The area under the ROC curve and a point of it, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve

from common.metrics.ranking import auc, auc_error, sensitivity_at
from common.metrics.statistics import Histogram
from tests.common.metric_cases import make_case


def _histogram(
    score: NDArray[np.float64], own: NDArray[np.bool_], weights: NDArray[np.uint8]
) -> Histogram:
    """Count value by value, in plain Python."""
    values = sorted(set(score.tolist()))
    counts = np.zeros((len(weights), 2, len(values)))
    for row, weight in enumerate(weights):
        for s, kind, w in zip(score.tolist(), own.tolist(), weight.tolist(), strict=True):
            counts[row, int(kind), values.index(s)] += w
    return Histogram(np.array(values), counts)


def _at_95(own: NDArray[np.bool_], score: NDArray[np.float64], weight: NDArray[np.uint8]) -> float:
    """Take the best point of scikit-learn's curve at 95% specificity."""
    false, true, _ = roc_curve(own, score, sample_weight=weight, drop_intermediate=False)
    return float(true[false <= 0.05 + 1e-12].max())


@pytest.mark.parametrize("steps", [0, 10, 2])
def test_each_resample_has_scikit_learns_weighted_area_with_ties(steps: int) -> None:
    case = make_case(3, steps=steps, draws=8)
    score, own = case.probabilities[:, 1], case.y == 1
    histogram = _histogram(score, own, case.weights)
    assert steps == 0 or len(histogram.values) <= steps + 1
    expected = [roc_auc_score(own, score, sample_weight=row) for row in case.weights]
    np.testing.assert_allclose(auc(histogram), expected, rtol=1e-12)


@pytest.mark.parametrize("steps", [0, 25, 4])
def test_sensitivity_at_95_is_a_point_of_scikit_learns_curve(steps: int) -> None:
    case = make_case(4, images=300, steps=steps, draws=8)
    score, own = case.probabilities[:, 2], case.y == 2
    found = sensitivity_at(_histogram(score, own, case.weights), 0.95)
    expected = [_at_95(own, score, row) for row in case.weights]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert len(set(found.tolist())) > 1


def test_five_percent_of_twenty_others_is_one_of_them() -> None:
    # 20 others at 0.00 to 0.19; own: one above all, one between the two highest, one below.
    score = np.concatenate([np.arange(20) / 100, [0.5, 0.185, -0.01]])
    own = np.arange(23) >= 20
    histogram = _histogram(score, own, np.ones((1, 23), np.uint8))
    assert sensitivity_at(histogram, 0.95) == pytest.approx(2 / 3)
    assert sensitivity_at(histogram, 0.96) == pytest.approx(1 / 3)
    # 1 - 0.9 is a little less than 0.1 in floating point.
    score, own = np.arange(11) / 10, np.arange(11) == 9
    ten = _histogram(score, own, np.ones((1, 11), np.uint8))
    assert sensitivity_at(ten, 0.9) == 1.0


def test_a_threshold_that_calls_nothing_has_sensitivity_zero() -> None:
    histogram = Histogram(np.array([0.2, 0.8]), np.array([[[0.0, 3], [4, 0]]]))
    assert sensitivity_at(histogram, 0.95).tolist() == [0.0]
    assert auc(histogram).tolist() == [0.0]


@pytest.mark.parametrize("kind", [0, 1])
def test_one_kind_alone_has_no_ranking(kind: int) -> None:
    counts = np.zeros((1, 2, 3))
    counts[0, kind] = 2.0
    histogram = Histogram(np.array([0.1, 0.5, 0.9]), counts)
    for found in (auc(histogram), auc_error(histogram), sensitivity_at(histogram, 0.95)):
        assert np.isnan(found).all()


def test_a_kind_that_vanishes_in_a_resample_has_no_ranking_there() -> None:
    both, others = [[2.0, 0], [1, 1]], [[2.0, 2], [0, 0]]
    histogram = Histogram(np.array([0.1, 0.9]), np.array([both, others]))
    # Of four pairs two are won and two are ties.
    np.testing.assert_array_equal(auc(histogram), [0.75, np.nan])
    np.testing.assert_array_equal(sensitivity_at(histogram, 0.95), [0.5, np.nan])


def test_no_image_has_no_ranking() -> None:
    nothing = Histogram(np.zeros(0), np.zeros((2, 2, 0)))
    for found in (auc(nothing), auc_error(nothing), sensitivity_at(nothing, 0.95)):
        assert found.shape == (2,)
        assert np.isnan(found).all()


@settings(max_examples=200)
@given(
    images=st.lists(st.tuples(st.integers(0, 30), st.booleans()), min_size=2, max_size=40),
    width=st.integers(1, 31),
)
def test_bins_move_the_area_by_no_more_than_the_error_says(
    images: list[tuple[int, bool]], width: int
) -> None:
    score = np.array([s for s, _ in images], np.float64)
    own = np.array([kind for _, kind in images])
    if own.all() or not own.any():
        return
    binned = _histogram(score // width, own, np.ones((1, len(own)), np.uint8))
    exact = roc_auc_score(own, score)
    assert abs(auc(binned)[0] - exact) <= auc_error(binned)[0] + 1e-12


def test_the_error_is_reached_by_the_worst_order_within_a_bin() -> None:
    # All in one bin: areas from 0 to 1 are possible, 0.5 is told.
    histogram = Histogram(np.array([0.5]), np.array([[[3.0], [4.0]]]))
    assert (auc(histogram)[0], auc_error(histogram)[0]) == (0.5, 0.5)
