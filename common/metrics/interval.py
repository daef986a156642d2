"""An interval from the draws of a bootstrap."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEVEL = 0.95
# With fewer draws than this share an interval would be one of a few lucky resamples.
_LEAST_SHARE = 0.1
_NORMAL = NormalDist()


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
    """Take percentiles of the draws, moved towards the side on which draws spread further.

    A rate near 1 varies the more the lower it is; plain percentiles then miss the truth below
    them far more often than above. The accelerated percentiles of Efron ("Better bootstrap
    confidence intervals", Journal of the American Statistical Association 82, 1987, section 3,
    his BCa interval without the correction of the median) allow for it: at ``Phi(z / (1 - a z))``
    instead of ``Phi(z)``, with the acceleration a from `acceleration`.

    Parameters
    ----------
    values : ndarray of float64, shape (1 + draws,)
        The value of the data, then those of the resamples; NaN where a resample has none, for
        example because no image of a rare class is in it. Such draws are left out.
    level : float
        How often such an interval is to hold the truth.
    """
    value = float(values[0])
    if not math.isfinite(value):
        return Interval(None, None, None)
    draws = known_draws(values)
    if draws is None:
        return Interval(value, None, None)
    a, z = acceleration(draws), _NORMAL.inv_cdf((1.0 + level) / 2)
    low, high = np.quantile(draws, [_accelerated(-z, a), _accelerated(z, a)])
    return Interval(value, float(low), float(high))


def two_sided_p(values: NDArray[np.float64]) -> float | None:
    """Tell how far zero lies outside: 1 minus the level whose interval just reaches it.

    Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 4.4: with one added
    to the draws on either side of zero, so that it is never zero.

    Parameters
    ----------
    values : ndarray of float64, shape (1 + draws,)
        As for `make_interval`.

    Returns
    -------
    float or None
        None where there is no interval.
    """
    draws = known_draws(values)
    if draws is None or not math.isfinite(values[0]):
        return None
    sides = (int((draws <= 0).sum()), int((draws >= 0).sum()))
    share = (min(sides) + 1.0) / (len(draws) + 1.0)
    at = _NORMAL.inv_cdf(min(share, 0.5)) * (1.0 if sides[0] <= sides[1] else -1.0)
    # The inverse of `_accelerated`; where it has none, zero is outside of every interval.
    scale = 1.0 + acceleration(draws) * at
    p = 2.0 * _NORMAL.cdf(-abs(at) / scale) if scale > 0 else 0.0
    return min(1.0, max(p, 2.0 / (len(draws) + 1.0)))


def known_draws(values: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Give the draws that have a value; None where nine of ten, or all but one, have none."""
    draws = values[1:]
    known = draws[np.isfinite(draws)]
    return known if enough(len(known), len(draws)) else None


def enough(known: int, draws: int) -> bool:
    """Tell whether so many draws of all have a value that an interval can be made of them."""
    return known >= max(2.0, _LEAST_SHARE * draws)


def acceleration(draws: NDArray[np.float64]) -> float:
    """Compute how fast the standard error changes with the truth, on the normal scale.

    A sixth of the skewness of the lesions' influences (Efron and Tibshirani, An Introduction to
    the Bootstrap, 1993, equation 14.15). With Poisson weights, whose cumulants are all 1, the
    skewness of the draws is just that sum, to first order.
    """
    deviation = draws - draws.mean()
    scale = math.sqrt(np.mean(deviation**2))
    return float(np.mean((deviation / scale) ** 3)) / 6.0 if scale > 0 else 0.0


def _accelerated(z: float, a: float) -> float:
    """Tell at which share of the draws a normal quantile lies."""
    scale = 1.0 - a * z
    return _NORMAL.cdf(z / scale) if scale > 0 else float(z > 0)
