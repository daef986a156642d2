"""Intervals of how unequal groups are: by hand, and how often they hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from common.metrics import make_interval
from common.metrics.fairness import equalised_odds_difference, spread
from common.metrics.interval import Interval
from common.metrics.spread_interval import SpreadIntervals, odds_interval, spread_intervals


def _groups(*columns: list[float]) -> dict[str, NDArray[np.float64]]:
    return {f"g{i}": np.array(column) for i, column in enumerate(columns)}


def _holds(interval: Interval, truth: float) -> bool:
    assert interval.low is not None
    assert interval.high is not None
    return interval.low <= truth <= interval.high


def test_the_bands_by_hand() -> None:
    # Data 0.5 and 0.8; four draws, of which the level 0.5 takes the third smallest move.
    by_group = _groups([0.5, 0.5, 0.6, 0.4, 0.5], [0.8, 0.9, 0.8, 0.8, 0.8])
    found = spread_intervals(by_group, level=0.5)
    assert found is not None
    # The draws move the groups apart by 0.1, 0.1, 0.1 and 0.
    assert found.gap.as_list() == pytest.approx([0.3, 0.2, 0.4])
    assert found.deviation.as_list() == pytest.approx([0.15, 0.1, 0.2])
    # And their ratio by 9/8, 6/5, 5/4 and 1.
    assert found.ratio.as_list() == pytest.approx([5 / 8, 5 / 8 / 1.2, 5 / 8 * 1.2])


def test_the_worst_has_the_worst_ends_of_intervals_that_hold_together() -> None:
    rng = np.random.default_rng(0)
    by_group = {
        name: 0.1 * rng.random(200) + at for name, at in zip("abc", (0.5, 0.52, 0.9), strict=True)
    }
    ends = [make_interval(values, 1 - 0.05 / 3) for values in by_group.values()]
    lows, highs = [one.low or 0.0 for one in ends], [one.high or 0.0 for one in ends]
    best = spread_intervals(by_group)
    error = spread_intervals(by_group, higher_is_better=False)
    assert best is not None
    assert error is not None
    assert (best.worst.low, best.worst.high) == (min(lows), min(highs))
    assert (error.worst.low, error.worst.high) == (max(lows), max(highs))
    assert best.worst.value == min(values[0] for values in by_group.values())


def _simulate(truth: NDArray[np.float64], times: int, draws: int) -> list[SpreadIntervals]:
    rng = np.random.default_rng(1)
    found = []
    for _ in range(times):
        seen = truth + 0.03 * rng.standard_normal(len(truth))
        table = seen + 0.03 * rng.standard_normal((1 + draws, len(truth)))
        table[0] = seen
        one = spread_intervals({str(i): column for i, column in enumerate(table.T)})
        assert one is not None
        found.append(one)
    return found


@pytest.mark.parametrize(
    "truth", [[0.7] * 2, [0.7] * 6, [0.6, 0.65], [0.6, 0.62, 0.7, 0.7], [0.4, 0.8, 0.8]]
)
def test_they_hold_the_truth_at_least_as_often_as_they_say(truth: list[float]) -> None:
    """Whether or not the groups are alike in truth; percentiles of the gap never do if they are."""
    groups = np.array(truth)
    found = _simulate(groups, 400, 300)
    held = {
        "worst": np.mean([_holds(one.worst, groups.min()) for one in found]),
        "gap": np.mean([_holds(one.gap, np.ptp(groups)) for one in found]),
        "ratio": np.mean([_holds(one.ratio, groups.min() / groups.max()) for one in found]),
        "deviation": np.mean([_holds(one.deviation, groups.std()) for one in found]),
    }
    # Three standard errors of 400 tries below 95%.
    assert min(held.values()) >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 400), held


def test_groups_that_may_be_alike_have_a_gap_from_zero_and_a_ratio_up_to_one() -> None:
    found = _simulate(np.array([0.7, 0.7]), 50, 200)
    assert sum(one.gap.low == 0.0 for one in found) >= 40
    assert all(one.gap.low is not None and one.gap.low >= 0.0 for one in found)
    assert all((one.gap.low == 0.0) == (one.deviation.low == 0.0) for one in found)
    assert all(one.ratio.high is not None and one.ratio.high <= 1.0 for one in found)


def test_groups_far_apart_are_told_apart() -> None:
    found = _simulate(np.array([0.4, 0.8]), 50, 200)
    assert all((one.gap.low or 0.0) > 0.2 for one in found)
    assert all((one.ratio.high or 1.0) < 0.75 for one in found)


def test_a_group_at_zero_may_have_any_ratio() -> None:
    found = spread_intervals(_groups([0.0, 0.0, 0.1], [0.5, 0.6, 0.5]))
    assert found is not None
    assert found.ratio == Interval(0.0, 0.0, 1.0)
    # A few draws at zero among many do not matter, if they are rarer than the level allows.
    rare = spread_intervals(_groups([0.5, 0.0, *[0.45] * 99], [0.5, 0.5, *[0.5] * 99]))
    assert rare is not None
    assert rare.ratio.as_list() == pytest.approx([1.0, 0.9, 1.0])


def test_groups_that_are_all_at_zero_have_no_ratio() -> None:
    found = spread_intervals(_groups([0.0, 0.0, 0.0], [0.0, 0.0, 0.0]))
    assert found is not None
    assert found.ratio == Interval(None, None, None)
    assert found.gap == Interval(0.0, 0.0, 0.0)


def test_without_draws_there_is_the_value_alone() -> None:
    found = spread_intervals(_groups([0.5], [0.75]))
    assert found is not None
    for one, value in (
        (found.worst, 0.5),
        (found.gap, 0.25),
        (found.ratio, 2 / 3),
        (found.deviation, 0.125),
    ):
        assert one.value == pytest.approx(value)
        assert (one.low, one.high) == (None, None)


def test_resamples_in_which_a_group_has_no_value_are_left_out() -> None:
    whole = _groups([0.5, 0.6, 0.4], [0.8, 0.8, 0.7])
    gaps = _groups([0.5, 0.6, np.nan, 0.4, 0.0], [0.8, 0.8, 0.9, 0.7, np.nan])
    a, b = spread_intervals(whole), spread_intervals(gaps)
    assert a is not None
    assert b is not None
    assert (a.gap, a.ratio, a.deviation) == (b.gap, b.ratio, b.deviation)


def test_a_masked_group_is_left_out_and_one_group_compares_with_nothing() -> None:
    by_group = _groups([0.5, 0.6, 0.4], [0.8, 0.8, 0.7])
    empty = np.full(3, np.nan)
    assert spread_intervals({**by_group, "none": empty}) == spread_intervals(by_group)
    assert spread_intervals({"a": by_group["g0"], "none": empty}) is None
    assert odds_interval({"a": by_group["g0"]}, {"a": by_group["g0"]}) is None


def test_odds_are_a_band_around_the_larger_gap() -> None:
    sensitivity = _groups([0.5, 0.5, 0.6], [0.8, 0.9, 0.8])
    specificity = _groups([0.9, 0.7, 0.9], [0.8, 0.8, 0.8])
    value = equalised_odds_difference(sensitivity, specificity)
    assert value is not None
    found = odds_interval(sensitivity, specificity, 0.9)
    assert found is not None
    # Sensitivities move apart by 0.1 and 0.1, specificities by 0.2 and 0.
    assert found.as_list() == pytest.approx([value[0], 0.1, 0.5])
    alone = odds_interval(sensitivity, {"g0": specificity["g0"]}, 0.9)
    gap = spread_intervals(sensitivity, level=0.9)
    assert gap is not None
    assert alone == gap.gap
    assert spread(sensitivity) is not None
