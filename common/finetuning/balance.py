"""Imbalance, against the class counts of all sites."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from common.errors import CohortError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def class_weights(counts: NDArray[np.int64], power: float) -> NDArray[np.float64]:
    """Weigh classes by ``count ** -power``, so that images weigh 1 on average.

    Parameters
    ----------
    counts : ndarray of int64, shape (k,)
        Training images of each class, over all sites.
    power : float
        0 weighs images alike, 1 weighs classes alike.

    Returns
    -------
    ndarray of float64, shape (k,)
        ``sum(counts * weights)`` is ``sum(counts)``; 0 for a class without images.

    Raises
    ------
    CohortError
        If a count is negative or no class has an image.
    """
    if counts.min(initial=0) < 0 or not counts.any():
        raise CohortError(
            f"class counts {counts.tolist()}: balancing needs at least one training image and no "
            "negative count; check the training split of the sites"
        )
    present = counts > 0
    logs = -power * np.log(counts[present])
    weights = np.zeros(len(counts))
    # Less the largest, so that no power overflows.
    weights[present] = np.exp(logs - logs.max())
    return np.asarray(weights * (counts.sum() / (counts @ weights)), dtype=np.float64)


def class_shifts(counts: NDArray[np.int64], power: float, strength: float) -> NDArray[np.float64]:
    """Give what logits must gain in training so that, without it, they balance the classes.

    After balancing by `power`, a class of n images is met in proportion to ``n ** (1 - power)``,
    and a network learns that. The logarithm of this share, added while it learns, takes it out of
    the network (logit adjustment, Menon et al., ICLR 2021, section 4.2).

    Parameters
    ----------
    counts : ndarray of int64, shape (k,)
        Training images of each class, over all sites.
    power : float
        That of `class_weights`; 0 where nothing balances.
    strength : float
        Factor on the logarithm: 1 balances the classes, 0 leaves them.

    Returns
    -------
    ndarray of float64, shape (k,)
        0 at most; 0 for a class without images, of which nothing is learned.
    """
    met = counts * class_weights(counts, power)
    shifts = np.zeros(len(counts))
    present = met > 0
    shifts[present] = strength * np.log(met[present] / met.sum())
    return shifts


def site_share(site_counts: NDArray[np.int64], counts: NDArray[np.int64], power: float) -> float:
    """Tell which share of the images that all sites sample is this site's.

    Parameters
    ----------
    site_counts, counts : ndarray of int64, shape (k,)
        Training images of each class, at the site and over all sites, it included.
    power : float
        That of `class_weights`; 0 gives the share of images.

    Returns
    -------
    float
        From 0 to 1; shares of all sites sum to 1.

    Raises
    ------
    CohortError
        If the site has more images of a class than all sites have.
    """
    weights = class_weights(counts, power)
    if (site_counts > counts).any():
        raise CohortError(
            f"class counts {site_counts.tolist()} of a site exceed those of all sites, "
            f"{counts.tolist()}; the site must be among those that were counted"
        )
    return float(site_counts @ weights / counts.sum())
