"""The bins of probabilities: in order, and fine enough for a ranking by sure heads."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from common.metrics.calibration import RELIABILITY_BINS
from common.metrics.ranking import auc, auc_error
from common.metrics.score_bins import SCORE_BINS, bin_values, score_bin
from common.metrics.statistics import Histogram

SHARE = st.floats(0.0, 1.0)
# Logits reach probabilities near 0 and 1 that uniform floats never do.
LOGIT = st.floats(-700.0, 40.0).map(lambda x: 1.0 / (1.0 + math.exp(-x)))
PROBABILITY = st.one_of(SHARE, LOGIT, LOGIT.map(lambda p: 1.0 - p))


@settings(max_examples=2000)
@given(a=PROBABILITY, b=PROBABILITY)
def test_the_higher_probability_never_has_the_lower_bin(a: float, b: float) -> None:
    low, high = score_bin(np.array(sorted((a, b))))
    assert 0 <= low <= high < SCORE_BINS


@settings(max_examples=1000)
@given(p=PROBABILITY)
def test_neighbours_among_floats_never_change_places(p: float) -> None:
    steps = np.array([np.nextafter(p, -1.0), p, np.nextafter(p, 2.0)])
    assert (np.diff(score_bin(steps)) >= 0).all()


@pytest.mark.parametrize("edge", [1 / 32, 31 / 32])
def test_tails_and_middle_meet_without_a_gap(edge: float) -> None:
    below, at = score_bin(np.array([np.nextafter(edge, 0.0), edge]))
    assert at == below + 1


def test_every_bin_has_a_value_within_it_in_order() -> None:
    values = bin_values()
    assert values.shape == (SCORE_BINS,)
    assert (np.diff(values) >= 0).all()
    # Near 1 a bin may be narrower than the distance of two floats.
    telling = values < 1.0 - 1e-12
    np.testing.assert_array_equal(score_bin(values)[telling], np.arange(SCORE_BINS)[telling])
    assert (np.abs(score_bin(values) - np.arange(SCORE_BINS))[~telling] <= 50).all()


def test_no_bin_lies_across_two_of_the_reliability_curves() -> None:
    edges = np.arange(1, RELIABILITY_BINS) / RELIABILITY_BINS
    for edge in edges.tolist():
        below, above = score_bin(np.array([edge - 1e-9, edge + 1e-9]))
        assert above == below + 1
        values = bin_values()[[below, above]]
        assert values[0] < edge < values[1]


def test_the_ends_have_the_end_bins() -> None:
    ends = score_bin(np.array([-1e-9, 0.0, 5e-324, 1.0, 1.0 + 1e-9]))
    assert ends.tolist() == [0, 0, 0, SCORE_BINS - 1, SCORE_BINS - 1]


def test_a_bins_value_is_close_to_what_is_counted_in_it() -> None:
    p = np.random.default_rng(0).uniform(size=20_000)
    told = bin_values()[score_bin(p)]
    assert np.abs(told - p).max() <= 1 / 960
    # In the tails, relative to the distance to the end.
    small = 10.0 ** np.random.default_rng(1).uniform(-12, -2, 20_000)
    assert np.abs(np.log(bin_values()[score_bin(small)] / small)).max() <= 0.12


def _softmax(sharpness: float, seed: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    n, k = 6000, 7
    y = rng.integers(0, k, n)
    scores = rng.normal(size=(n, k))
    scores[np.arange(n), y] += 1.2
    odds = np.exp(sharpness * (scores - scores.max(axis=1, keepdims=True)))
    return (odds / odds.sum(axis=1, keepdims=True))[:, 0], y == 0


def _beta(a: float, b: float, seed: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    own = rng.random(6000) < 0.2
    return np.where(own, rng.beta(a + 1, b, 6000), rng.beta(a, b, 6000)), own


SCORES = {
    "even": _beta(1.0, 1.0, 0),
    "unsure": _beta(30.0, 30.0, 1),
    "near both ends": _beta(0.05, 0.05, 2),
    "near zero": _beta(0.1, 20.0, 3),
    "softmax": _softmax(1.0, 4),
    "sure softmax": _softmax(10.0, 5),
    "very sure softmax": _softmax(100.0, 6),
    "all but certain": _softmax(200.0, 7),
}


def _binned(bins: NDArray[np.intp], own: NDArray[np.bool_], size: int) -> Histogram:
    counts = np.stack([np.bincount(bins[own == kind], minlength=size) for kind in (False, True)])
    return Histogram(np.arange(size, dtype=np.float64), counts[None].astype(np.float64))


@pytest.mark.parametrize("name", SCORES)
def test_the_binned_area_is_within_a_thousandth_of_the_exact_one(name: str) -> None:
    score, own = SCORES[name]
    binned = _binned(score_bin(score), own, SCORE_BINS)
    off = abs(auc(binned)[0] - roc_auc_score(own, score))
    assert off <= auc_error(binned)[0] + 1e-12
    assert off <= 0.001
    assert auc_error(binned)[0] <= 0.02


def test_bins_of_equal_width_would_lose_the_ranking_of_a_sure_head() -> None:
    score, own = SCORES["very sure softmax"]
    width = _binned(np.minimum((score * 1024).astype(np.intp), 1023), own, 1024)
    assert abs(auc(width)[0] - roc_auc_score(own, score)) > 0.01
