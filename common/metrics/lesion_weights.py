"""The bootstrap's weights: a draw gives each lesion a Poisson count, keyed by the lesion itself.

Resampling n lesions of n with replacement counts each one binomially, in the limit as Poisson(1)
and independently. Drawn so, a lesion's counts depend on nothing but a key and its own id: sites
that share the key give one lesion the same counts without speaking to each other, and the
resampled sums of all sites add up to those of the pooled data. (Chamandy, Muralidharan, Najmi and
Naidu, "Estimating uncertainty for massive data streams", Google, 2012, sections 2 and 3.)
"""

from __future__ import annotations

from hashlib import shake_128
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import poisson

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Counts above this have a probability below 1e-15; they are cut, so that a byte holds a count.
MOST_COPIES = 17


def seed_key(seed: int) -> bytes:
    """Give the key of the lab, where there is nothing to hide, from a seed."""
    return f"dermafed:{seed}".encode()


def lesion_weights(
    lesions: Sequence[str] | NDArray[np.str_], draws: int, key: bytes
) -> NDArray[np.uint8]:
    """Draw how often each image counts in each resample, whole lesions at a time.

    Parameters
    ----------
    lesions : sequence of str, length n
        Each image's lesion, or group of joined lesions: the cluster that is resampled.
    draws : int
        Number of resamples, 0 or more.
    key : bytes
        The same key gives the same lesion the same counts, whatever else is there. Who knows the
        key and a lesion's id knows its counts: sites keep it from a coordinator.

    Returns
    -------
    ndarray of uint8, shape (1 + draws, n)
        Row 0 is all ones: the data as they are. The other rows are the resamples.
    """
    names, lesion_of = np.unique(np.asarray(lesions, dtype=np.str_), return_inverse=True)
    cumulative = np.rint(poisson.cdf(np.arange(MOST_COPIES), 1.0) * 2.0**32).astype(np.uint64)
    counts = np.ones((len(names), 1 + draws), dtype=np.uint8)
    for index, name in enumerate(names):
        digest = shake_128(len(key).to_bytes(4, "big") + key + str(name).encode())
        uniform = np.frombuffer(digest.digest(4 * draws), dtype=">u4")
        counts[index, 1:] = np.searchsorted(cumulative, uniform, side="right")
    return np.ascontiguousarray(counts[lesion_of.reshape(-1)].T)
