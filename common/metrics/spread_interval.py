"""Intervals of how unequal groups are, which hold where the groups are in truth alike, too.

Chance alone sets groups apart: the highest of several noisy values exceeds the lowest even where
all are in truth the same, and in a resample of such data again. Percentiles of the resamples' gaps
never reach zero then. The intervals here are bands around what the data show: how far resamples
move the groups apart from where they are in the data is how far the data may have moved them from
the truth. Gap and standard deviation of values that move change by no more than gap and standard
deviation of the moves (the triangle inequality), which makes the level a lower bound.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from common.metrics.fairness import spread
from common.metrics.interval import LEVEL, Interval, enough, make_interval

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class SpreadIntervals:
    """Intervals of a `common.metrics.fairness.Spread`, each by itself at least at the level.

    Attributes
    ----------
    worst, gap, ratio, deviation : Interval
        A gap or deviation from 0 on, or a ratio up to 1, says that the groups may be alike.
    """

    worst: Interval
    gap: Interval
    ratio: Interval
    deviation: Interval


def spread_intervals(
    by_group: Mapping[str, NDArray[np.float64]],
    *,
    higher_is_better: bool = True,
    level: float = LEVEL,
) -> SpreadIntervals | None:
    """Give the intervals of a spread.

    Parameters
    ----------
    by_group : mapping of str to ndarray of float64, shape (1 + draws,)
        The metric in each group, from 0 to 1; NaN in the first row where the group has no
        value. Resamples in which another group has none are left out.
    higher_is_better : bool
        Whether the lowest value is the worst.
    level : float
        How often each interval is to hold the truth, at least.

    Returns
    -------
    SpreadIntervals or None
        None where fewer than two groups have a value.
    """
    found = spread(by_group, higher_is_better=higher_is_better)
    if found is None:
        return None
    table = np.stack([by_group[name] for name in found.groups], axis=1)
    moves = table - table[0]
    return SpreadIntervals(
        worst=_worst(table, found.worst[0], higher_is_better=higher_is_better, level=level),
        gap=_band(found.gap[0], _reach(np.ptp(moves, axis=1), level)),
        ratio=_ratio(found.ratio[0], _reach(_log_moves(table), level)),
        deviation=_band(found.deviation[0], _reach(moves.std(axis=1), level)),
    )


def odds_interval(
    sensitivity: Mapping[str, NDArray[np.float64]],
    specificity: Mapping[str, NDArray[np.float64]],
    level: float = LEVEL,
) -> Interval | None:
    """Give the interval of `common.metrics.fairness.equalised_odds_difference`.

    Parameters
    ----------
    sensitivity, specificity : mapping of str to ndarray of float64, shape (1 + draws,)
        Of each group.
    level : float
        How often the interval is to hold the truth, at least.

    Returns
    -------
    Interval or None
        None where neither rate has two groups to compare.
    """
    gaps, moves = [], []
    for by_group in (sensitivity, specificity):
        found = spread(by_group)
        if found is not None:
            table = np.stack([by_group[name] for name in found.groups], axis=1)
            gaps.append(found.gap[0])
            moves.append(np.ptp(table - table[0], axis=1))
    return _band(max(gaps), _reach(np.max(moves, axis=0), level)) if gaps else None


def _worst(
    table: NDArray[np.float64], value: float, *, higher_is_better: bool, level: float
) -> Interval:
    """Take the worst of lows and of highs of all groups, which hold together (Bonferroni)."""
    each = 1.0 - (1.0 - level) / table.shape[1]
    groups = [make_interval(column, each) for column in table.T]
    low = [one.low for one in groups if one.low is not None]
    high = [one.high for one in groups if one.high is not None]
    if len(low) < len(groups):
        return Interval(float(value), None, None)
    worst = min if higher_is_better else max
    return Interval(float(value), worst(low), worst(high))


def _log_moves(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Tell how far each resample moves the groups' logarithms apart; a zero, infinitely far."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(table)
        moves = np.ptp(logs - logs[0], axis=1)
    return np.where(np.isnan(moves) & np.isfinite(table).all(axis=1), np.inf, moves)


def _reach(moves: NDArray[np.float64], level: float) -> float | None:
    """Tell how far the groups move in so many of the resamples."""
    draws = moves[1:]
    known = draws[~np.isnan(draws)]
    if not enough(len(known), len(draws)):
        return None
    # Moves may be infinite, between which nothing can be interpolated.
    return float(np.quantile(known, level, method="higher"))


def _band(value: float, reach: float | None) -> Interval:
    if reach is None:
        return Interval(float(value), None, None)
    return Interval(float(value), max(0.0, float(value) - reach), min(1.0, float(value) + reach))


def _ratio(value: float, reach: float | None) -> Interval:
    """Make a band of the ratio's logarithm, which is minus the gap of the logarithms."""
    if not math.isfinite(value):
        return Interval(None, None, None)
    if reach is None:
        return Interval(float(value), None, None)
    if math.isinf(reach):
        return Interval(float(value), 0.0, 1.0)
    return Interval(float(value), value * math.exp(-reach), min(1.0, value * math.exp(reach)))
