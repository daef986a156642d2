"""The bins that sites count probabilities in: fine where a probability is near 0 or 1, too.

A head that is sure gives most images probabilities below 0.001 of most classes. In bins of equal
width these would all be one, and a ranking by them lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Equal width from 1/32 to 31/32; outside, by the logarithm of the distance to the end, coarser
# the nearer the end is.
_TAIL = 5.0
# Divided by 32, for the tails, and by 15: no bin lies across two of the reliability curve's.
_MIDDLE, _PER_OCTAVE, _BEND = 3840, 512.0, 4.0
# Of float64, down to its least normal number: a softmax of large scores gets there.
_DEEPEST = 1022.0
_LOW_BINS = int(_PER_OCTAVE * np.log2(1.0 + (_DEEPEST - _TAIL) / _BEND)) + 1
# Between 1 and the float64 next to it lie 53 octaves.
_HIGH_BINS = int(_PER_OCTAVE * np.log2(1.0 + (53.0 - _TAIL) / _BEND)) + 2
_MIDDLE_BINS = _MIDDLE - 2 * _MIDDLE // 32
SCORE_BINS = _LOW_BINS + _MIDDLE_BINS + _HIGH_BINS


def score_bin(probability: NDArray[np.float64]) -> NDArray[np.intp]:
    """Tell each probability's bin, of `SCORE_BINS`, never out of order.

    Parameters
    ----------
    probability : ndarray of float64
        From 0 to 1.
    """
    p = np.clip(probability, 0.0, 1.0)
    middle = _LOW_BINS + (p * _MIDDLE).astype(np.intp) - _MIDDLE // 32
    low = _LOW_BINS - 1 - _depth(p, _LOW_BINS)
    # 1 - p is exact here.
    high = _LOW_BINS + _MIDDLE_BINS + _depth(1.0 - p, _HIGH_BINS)
    bins: NDArray[np.intp] = np.where(p < 1 / 32, low, np.where(p >= 31 / 32, high, middle))
    return bins


def bin_values() -> NDArray[np.float64]:
    """Give a probability within each bin, ascending, shape (SCORE_BINS,)."""
    low = _distance(np.arange(_LOW_BINS))[::-1]
    middle = (np.arange(_MIDDLE_BINS) + _MIDDLE // 32 + 0.5) / _MIDDLE
    high = 1.0 - _distance(np.arange(_HIGH_BINS))
    return np.concatenate([low, middle, high])


def _depth(distance: NDArray[np.float64], bins: int) -> NDArray[np.intp]:
    """Tell how many tail bins lie between 1/32 and a distance to 0 or to 1."""
    octaves = -np.log2(np.maximum(distance, 2.0**-1022)) - _TAIL
    depth = (_PER_OCTAVE * np.log2(1.0 + np.maximum(octaves, 0.0) / _BEND)).astype(np.intp)
    return np.minimum(depth, bins - 1)


def _distance(depth: NDArray[np.intp]) -> NDArray[np.float64]:
    octaves = _TAIL + _BEND * (np.exp2((depth + 0.5) / _PER_OCTAVE) - 1.0)
    distance: NDArray[np.float64] = np.exp2(-octaves)
    return distance
