"""What all metrics of a group are computed from: a confusion matrix and three kinds of histogram.

From predictions, a histogram has a bin for each value that occurs, and every metric is exact.
From the sums of sites it has bins of a fixed width. What is computed from either is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Histogram:
    """Images of two kinds by a value, for r weightings of the images.

    Attributes
    ----------
    values : ndarray of float64, shape (bins,)
        The bins' values, ascending.
    counts : ndarray of float64, shape (r, 2, bins)
        Weight in each bin, of either kind.
    """

    values: NDArray[np.float64]
    counts: NDArray[np.float64]

    @cached_property
    def total(self) -> NDArray[np.float64]:
        """Weight of either kind, shape (r, 2)."""
        total: NDArray[np.float64] = self.counts.sum(axis=2)
        return total

    @cached_property
    def up_to(self) -> NDArray[np.float64]:
        """Weight in each bin and all below it, shape (r, 2, bins)."""
        return np.cumsum(self.counts, axis=2)

    @cached_property
    def others_below(self) -> NDArray[np.float64]:
        """Weight of the first kind in all lower bins, shape (r, bins)."""
        return self.up_to[:, 0] - self.counts[:, 0]


@dataclass(frozen=True)
class Statistics:
    """Sums over the images of a group, for r weightings of them.

    Attributes
    ----------
    confusion : ndarray of float64, shape (r, k, k)
        Rows the truth.
    scores : tuple of Histogram, length k
        Of each class's probability: images of the other classes, and its own.
    malignant : Histogram or None
        Of the probability of all malignant classes together: benign and malignant images.
    confidence : Histogram
        Of the predicted class's probability: images predicted wrong, and right.
    """

    confusion: NDArray[np.float64]
    scores: tuple[Histogram, ...]
    malignant: Histogram | None
    confidence: Histogram


def image_statistics(
    y: NDArray[np.intp],
    predicted: NDArray[np.intp],
    probabilities: NDArray[np.float64],
    malignant: NDArray[np.bool_],
    weights: NDArray[np.uint8],
) -> Statistics:
    """Sum over images whose predictions are at hand.

    Parameters
    ----------
    y, predicted : ndarray of intp, shape (n,)
        The truth and the predictions.
    probabilities : ndarray of float64, shape (n, k)
        Of each class.
    malignant : ndarray of bool, shape (k,)
        Which classes are malignant; none for a cohort that does not tell.
    weights : ndarray of uint8, shape (r, n)
        How often each image counts, from `lesion_weights`.
    """
    n, k = probabilities.shape
    cells = np.zeros((n, k * k))
    cells[np.arange(n), y * k + predicted] = 1.0
    confidence = probabilities[np.arange(n), predicted]
    return Statistics(
        confusion=(weights.astype(np.float64) @ cells).reshape(-1, k, k),
        scores=tuple(_histogram(probabilities[:, c], y == c, weights) for c in range(k)),
        malignant=(
            _histogram(probabilities[:, malignant].sum(axis=1), malignant[y], weights)
            if malignant.any()
            else None
        ),
        confidence=_histogram(confidence, y == predicted, weights),
    )


def _histogram(
    score: NDArray[np.float64], own: NDArray[np.bool_], weights: NDArray[np.uint8]
) -> Histogram:
    """Count with a bin for each value that occurs."""
    values, starts = np.unique(np.sort(score), return_index=True)
    if not len(values):
        return Histogram(values, np.zeros((len(weights), 2, 0)))
    order = np.argsort(score, kind="stable")
    ordered, kind = weights[:, order], own[order]
    counts = np.empty((len(weights), 2, len(score)))
    np.multiply(ordered, ~kind, out=counts[:, 0])
    np.multiply(ordered, kind, out=counts[:, 1])
    if len(values) < len(score):
        counts = np.add.reduceat(counts, starts, axis=2)
    return Histogram(values, counts)
