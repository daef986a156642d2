"""How unequal a metric is over groups: worst, gap, ratio, spread, and the equalised odds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from common.metrics.divide import divide

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Spread:
    """How a metric differs over groups, for r weightings.

    Attributes
    ----------
    worst : ndarray of float64, shape (r,)
        Value of the worst group; which one that is may differ from resample to resample.
    gap, ratio, deviation : ndarray of float64, shape (r,)
        Highest minus lowest, lowest over highest, and the standard deviation over groups, each
        group counting the same.
    worst_group : str
        In the data.
    groups, masked : tuple of str
        Groups that have a value, and those that have none and are left out.
    """

    worst: NDArray[np.float64]
    gap: NDArray[np.float64]
    ratio: NDArray[np.float64]
    deviation: NDArray[np.float64]
    worst_group: str
    groups: tuple[str, ...]
    masked: tuple[str, ...]


def spread(
    by_group: Mapping[str, NDArray[np.float64]], *, higher_is_better: bool = True
) -> Spread | None:
    """Compare groups by one metric.

    As fairlearn's ``MetricFrame`` (``group_min``, ``difference``, ``ratio``, between groups).

    Parameters
    ----------
    by_group : mapping of str to ndarray of float64, shape (r,)
        The metric in each group; NaN in the first row where the group has no value.
    higher_is_better : bool
        Whether the lowest value is the worst.

    Returns
    -------
    Spread or None
        None where fewer than two groups have a value.
    """
    groups = tuple(name for name, values in by_group.items() if np.isfinite(values[0]))
    masked = tuple(name for name in by_group if name not in groups)
    if len(groups) < 2:
        return None
    table = np.stack([by_group[name] for name in groups], axis=1)
    low, high = table.min(axis=1), table.max(axis=1)
    worst = int(table[0].argmin() if higher_is_better else table[0].argmax())
    return Spread(
        worst=low if higher_is_better else high,
        gap=high - low,
        ratio=divide(low, high),
        deviation=table.std(axis=1),
        worst_group=groups[worst],
        groups=groups,
        masked=masked,
    )


def equalised_odds_difference(
    sensitivity: Mapping[str, NDArray[np.float64]], specificity: Mapping[str, NDArray[np.float64]]
) -> NDArray[np.float64] | None:
    """Compute the larger of the gaps in true and in false positive rates over groups.

    Hardt, Price and Srebro, "Equality of opportunity in supervised learning", NeurIPS 2016, as a
    difference: fairlearn's ``equalized_odds_difference``. A group without images of one kind is
    left out of that rate.

    Returns
    -------
    ndarray of float64, shape (r,), or None
        None where neither rate has two groups to compare.
    """
    gaps = [one.gap for one in (spread(sensitivity), spread(specificity)) if one is not None]
    return np.max(np.stack(gaps), axis=0) if gaps else None
