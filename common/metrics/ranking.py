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
    won = np.einsum("rb,rb->r", own, histogram.up_to[:, 0])
    won -= np.einsum("rb,rb->r", own, others) / 2
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
    # Weight from each bin on, that is, called positive with the threshold at this bin.
    called, total = histogram.from_on, histogram.total
    allowed = (1.0 - specificity) * total[:, 0]
    # Counts are whole numbers, the product is not quite: 0.05 of 20 must allow 1.
    within = called[:, 0] <= allowed[:, None] * (1.0 + 1e-12)
    best = np.where(within, called[:, 1], 0.0).max(axis=1, initial=0.0)
    # Without others no threshold says anything.
    return divide(best, np.where(total[:, 0] > 0, total[:, 1], 0.0))


def _over_pairs(amount: NDArray[np.float64], histogram: Histogram) -> NDArray[np.float64]:
    return divide(amount, histogram.total.prod(axis=1))
