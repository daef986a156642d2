"""Whether a probability means what it says: reliability curve, calibration error, Brier score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from common.metrics.divide import divide

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from common.metrics.statistics import Histogram

RELIABILITY_BINS = 15


@dataclass(frozen=True)
class Reliability:
    """Images by confidence, in bins of equal width, for r weightings.

    Attributes
    ----------
    count, confidence, right : ndarray of float64, shape (r, RELIABILITY_BINS)
        Weight, sum of the predicted class's probability, and weight predicted right.
    """

    count: NDArray[np.float64]
    confidence: NDArray[np.float64]
    right: NDArray[np.float64]


def reliability(histogram: Histogram) -> Reliability:
    """Bin images by confidence.

    Parameters
    ----------
    histogram : Histogram
        Wrong and right, by the predicted class's probability.
    """
    edge = np.ceil(histogram.values * RELIABILITY_BINS).astype(np.intp) - 1
    member = np.zeros((len(histogram.values), RELIABILITY_BINS))
    member[np.arange(len(edge)), np.clip(edge, 0, RELIABILITY_BINS - 1)] = 1.0
    both = histogram.counts.sum(axis=1)
    return Reliability(
        count=both @ member,
        confidence=(both * histogram.values) @ member,
        right=histogram.counts[:, 1] @ member,
    )


def expected_calibration_error(curve: Reliability) -> NDArray[np.float64]:
    """Compute the mean gap between confidence and accuracy, weighted by images.

    Guo et al., "On calibration of modern neural networks", ICML 2017, equation 3.

    Returns
    -------
    ndarray of float64, shape (r,)
        NaN without images.
    """
    gaps = np.abs(curve.confidence - curve.right).sum(axis=1)
    total = curve.count.sum(axis=1)
    return divide(gaps, total)


def brier_score(scores: Sequence[Histogram]) -> NDArray[np.float64]:
    """Compute the mean squared distance of probabilities and truth, summed over classes.

    Brier, Monthly Weather Review 78, 1950, equation 2: from 0 to 2.

    Parameters
    ----------
    scores : sequence of Histogram
        One a class: others and own, by the class's probability.

    Returns
    -------
    ndarray of float64, shape (r,)
        NaN without images.
    """
    total = scores[0].counts.sum(axis=(1, 2))
    squares = np.zeros_like(total)
    for one in scores:
        squares += one.counts[:, 0] @ np.square(one.values)
        squares += one.counts[:, 1] @ np.square(1.0 - one.values)
    return divide(squares, total)
