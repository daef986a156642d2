"""Risk and coverage, by hand over sorted images."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.metrics.selective import COVERAGES, area_under_risk, risk_coverage
from common.metrics.statistics import Histogram, image_statistics
from tests.common.metric_cases import make_case

IMAGES = st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=40)


def _histogram(images: list[tuple[float, bool]]) -> Histogram:
    values = sorted({confidence for confidence, _ in images})
    counts = np.zeros((1, 2, len(values)))
    for confidence, right in images:
        counts[0, int(right), values.index(confidence)] += 1
    return Histogram(np.array(values), counts)


def _by_hand(images: list[tuple[float, bool]]) -> tuple[list[float], float]:
    """Lower a threshold from value to value; each coverage takes the first that reaches it."""
    points = []
    for threshold in sorted({confidence for confidence, _ in images}, reverse=True):
        kept = [right for confidence, right in images if confidence >= threshold]
        points.append((len(kept), kept.count(False) / len(kept)))
    risks = [
        next(risk for size, risk in points if 20 * size >= percent * len(images))
        for percent in range(1, 21)
    ]
    sizes = [0, *(size for size, _ in points)]
    steps = [after - before for before, after in pairwise(sizes)]
    area = sum(step * risk for step, (_, risk) in zip(steps, points, strict=True)) / len(images)
    return risks, area


@settings(max_examples=200)
@given(images=IMAGES)
def test_risk_is_the_error_rate_above_the_first_threshold_that_covers(
    images: list[tuple[float, bool]],
) -> None:
    risks, area = _by_hand(images)
    histogram = _histogram(images)
    np.testing.assert_allclose(risk_coverage(histogram), [risks], atol=1e-15)
    np.testing.assert_allclose(area_under_risk(histogram), [area], atol=1e-15)


def test_each_resample_is_as_if_its_images_were_repeated() -> None:
    case = make_case(8, images=60, steps=20)
    nobody = np.zeros(4, bool)
    sums = image_statistics(case.y, case.predicted, case.probabilities, nobody, case.weights)
    risk, area = risk_coverage(sums.confidence), area_under_risk(sums.confidence)
    confidence = case.probabilities.max(axis=1).tolist()
    right = (case.y == case.predicted).tolist()
    for row, weight in enumerate(case.weights):
        repeated = [
            (c, r) for c, r, w in zip(confidence, right, weight, strict=True) for _ in range(w)
        ]
        expected, expected_area = _by_hand(repeated)
        np.testing.assert_allclose(risk[row], expected, atol=1e-15)
        assert area[row] == pytest.approx(expected_area)


def test_fifty_five_of_a_hundred_are_fifty_five_percent() -> None:
    assert COVERAGES[10] * 100 > 55.0, "in floating point it is a little more"
    # The 55 surest are right, the others wrong.
    risk = risk_coverage(_histogram([(float(i), i >= 45) for i in range(100)]))[0]
    assert (risk[10], risk[11]) == (0.0, 5 / 60)


def test_at_full_coverage_the_risk_is_the_error_rate() -> None:
    histogram = Histogram(np.array([0.3, 0.6]), np.array([[[1.0, 1], [0, 2]]]))
    assert COVERAGES[-1] == 1.0
    assert risk_coverage(histogram)[0, -1] == 0.5


def test_surest_images_right_beat_any_other_order() -> None:
    best = area_under_risk(_histogram([(2.0, True), (1.0, False)]))
    worst = area_under_risk(_histogram([(2.0, False), (1.0, True)]))
    assert (best.tolist(), worst.tolist()) == ([0.25], [0.75])


def test_without_images_nothing_is_told() -> None:
    nothing = Histogram(np.zeros(0), np.zeros((2, 2, 0)))
    assert np.isnan(risk_coverage(nothing)).all()
    assert risk_coverage(nothing).shape == (2, len(COVERAGES))
    assert np.isnan(area_under_risk(nothing)).all()


def test_a_resample_without_images_is_not_told_and_spoils_no_other() -> None:
    histogram = Histogram(np.array([0.5]), np.array([[[1.0], [1.0]], [[0.0], [0.0]]]))
    risk = risk_coverage(histogram)
    assert (risk[0] == 0.5).all()
    assert np.isnan(risk[1]).all()
    np.testing.assert_array_equal(area_under_risk(histogram), [0.5, np.nan])
