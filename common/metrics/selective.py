"""Handing over to a person: how often the model is wrong on the images it is surest of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from common.metrics.divide import divide

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.metrics.statistics import Histogram

# Shares of images that the model decides itself, at which the curve is told.
COVERAGES = np.arange(1, 21) / 20


def risk_coverage(histogram: Histogram) -> NDArray[np.float64]:
    """Compute the share of wrong predictions among the surest images.

    Geifman and El-Yaniv, "Selective classification for deep neural networks", NeurIPS 2017.

    Parameters
    ----------
    histogram : Histogram
        Wrong and right, by the predicted class's probability.

    Returns
    -------
    ndarray of float64, shape (r, len(COVERAGES))
        At the first threshold that covers at least this share: images of one confidence come
        together. NaN without images.
    """
    wrong, covered = _from_the_surest(histogram)
    risk = np.full((len(wrong), len(COVERAGES)), np.nan)
    for row, total in enumerate(covered[:, -1] if covered.shape[1] else []):
        if total:
            # A little slack: 0.15 of 20 is 3, though not quite in floating point.
            at = np.searchsorted(covered[row], COVERAGES * total - 1e-9 * total)
            risk[row] = wrong[row, at] / covered[row, at]
    return risk


def area_under_risk(histogram: Histogram) -> NDArray[np.float64]:
    """Compute the mean risk over all coverages: 0 is best, a random order gives the error rate.

    Geifman, Uziel and El-Yaniv, "Bias-reduced uncertainty estimation for deep neural
    classifiers", ICLR 2019, section 2.

    Returns
    -------
    ndarray of float64, shape (r,)
        NaN without images.
    """
    wrong, covered = _from_the_surest(histogram)
    weight = np.diff(covered, axis=1, prepend=0.0)
    risk = np.divide(wrong, covered, out=np.zeros_like(wrong), where=covered > 0)
    total = weight.sum(axis=1)
    area = np.einsum("rb,rb->r", weight, risk)
    return divide(area, total)


def _from_the_surest(histogram: Histogram) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the wrong and all images from the highest confidence down, shape (r, bins) each."""
    counts = np.cumsum(histogram.counts[:, :, ::-1], axis=2)
    return counts[:, 0], counts.sum(axis=1)
