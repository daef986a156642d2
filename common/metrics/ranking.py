"""Metrics of a ranking by one score: the area under the ROC curve, and a point of that curve."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from common.metrics.divide import divide

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.metrics.statistics import Histogram


def auc(histogram: Histogram) -> NDArray[np.float64]:
    """Compute the area under the ROC curve.

    The Mann-Whitney statistic, equal scores counting half (Hanley and McNeil, Radiology 143,
    1982).

    Parameters
    ----------
    histogram : Histogram
        Others and own, by score. Where a bin holds several scores these count as equal: the area
        is off by at most half the share of (own, other) pairs that share a bin, `auc_error`.

    Returns
    -------
    ndarray of float64, shape (r,)
        NaN where one kind has no image.
    """
    others, own = histogram.counts[:, 0], histogram.counts[:, 1]
    won = np.einsum("rb,rb->r", own, histogram.others_below)
    won += np.einsum("rb,rb->r", own, others) / 2
    return _over_pairs(won, histogram)


def auc_error(histogram: Histogram) -> NDArray[np.float64]:
    """Bound how far bins can move an area: half the share of pairs that share a bin, shape (r,)."""
    tied = np.einsum("rb,rb->r", histogram.counts[:, 0], histogram.counts[:, 1])
    return _over_pairs(tied / 2, histogram)


def sensitivity_at(histogram: Histogram, specificity: float) -> NDArray[np.float64]:
    """Compute the highest sensitivity that a threshold reaches at a specificity or above.

    Parameters
    ----------
    histogram : Histogram
        Others and own, by score; an image is called positive from the threshold on.
    specificity : float
        The least share of others below the threshold.

    Returns
    -------
    ndarray of float64, shape (r,)
        A point of the ROC curve itself, not interpolated; NaN where one kind has no image.
    """
    total, rows = histogram.total, np.arange(len(histogram.total))
    if not len(histogram.values):
        return np.full(len(total), np.nan)
    # Counts are whole numbers, the product is not quite: 0.95 of 20 must ask for 19.
    needed = specificity * total[:, 0] * (1.0 - 1e-12)
    within = histogram.others_below >= needed[:, None]
    # The lowest such threshold finds most; with none, nothing can be called positive.
    at = within.argmax(axis=1)
    own = histogram.counts[rows, 1, at] + total[:, 1] - histogram.up_to[rows, 1, at]
    best = np.where(within[rows, at], own, 0.0)
    # Without others no threshold says anything.
    return divide(best, np.where(total[:, 0] > 0, total[:, 1], 0.0))


def _over_pairs(amount: NDArray[np.float64], histogram: Histogram) -> NDArray[np.float64]:
    return divide(amount, histogram.total.prod(axis=1))
