"""An interval from the draws of a bootstrap."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVEL = 0.95
# With fewer draws than this share an interval would be one of a few lucky resamples.
_LEAST_SHARE = 0.1


@dataclass(frozen=True)
class Interval:
    """A value with the interval of its bootstrap.

    Attributes
    ----------
    value : float or None
        Of the data; None where it is not defined, as the sensitivity of a class without images.
    low, high : float or None
        None without draws, or where nine draws of ten have no value.
    """

    value: float | None
    low: float | None
    high: float | None

    def as_list(self) -> list[float | None]:
        """Give value, low and high, for a file."""
        return [self.value, self.low, self.high]


def make_interval(values: NDArray[np.float64], level: float = LEVEL) -> Interval:
    """Take the percentiles of the draws.

    Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3.

    Parameters
    ----------
    values : ndarray of float64, shape (1 + draws,)
        The value of the data, then those of the resamples; NaN where a resample has none, for
        example because no image of a rare class is in it. Such draws are left out.
    level : float
        Share of the draws within the interval.
    """
    value, draws = float(values[0]), values[1:]
    known = draws[np.isfinite(draws)]
    if not math.isfinite(value):
        return Interval(None, None, None)
    if not len(draws) or len(known) < _LEAST_SHARE * len(draws) or len(known) < 2:
        return Interval(value, None, None)
    low, high = np.quantile(known, [(1.0 - level) / 2, (1.0 + level) / 2])
    return Interval(value, float(low), float(high))
