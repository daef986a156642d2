"""Which images a step takes: balanced against the class counts of all sites, or shuffled."""

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


def draw_batches(
    y: NDArray[np.intp],
    weights: NDArray[np.float64],
    *,
    steps: int,
    batch: int,
    rng: np.random.Generator,
) -> NDArray[np.intp]:
    """Draw images with replacement, each in proportion to its class's weight.

    Parameters
    ----------
    y : ndarray of intp, shape (n,)
        Class of each image of the site.
    weights : ndarray of float64, shape (k,)
        From `class_weights`.
    steps, batch : int
        Batches, and images of each.
    rng : numpy.random.Generator
        Draws.

    Returns
    -------
    ndarray of intp, shape (steps, batch)
        Rows of `y`.

    Raises
    ------
    CohortError
        If no image has a weight above 0.
    """
    image = weights[y]
    total = image.sum()
    if not total > 0.0:
        raise CohortError(
            f"none of the site's {len(y)} training image(s) is of a class with a weight; check "
            "its training split and that the site was counted"
        )
    return rng.choice(len(y), size=(steps, batch), p=image / total)


def shuffled_batches(
    n: int, *, steps: int, batch: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Take every image once an epoch, in a new order each; batches go on across epochs.

    Parameters
    ----------
    n : int
        Images of the site.
    steps, batch : int
        Batches, and images of each; an image stands twice in one only where an epoch ends in it.
    rng : numpy.random.Generator
        Shuffles.

    Returns
    -------
    ndarray of intp, shape (steps, batch)
        From 0 to ``n - 1``.

    Raises
    ------
    CohortError
        If there is no image.
    """
    if n < 1:
        raise CohortError("the site has no training image to shuffle; check its training split")
    taken = steps * batch
    epochs = [rng.permutation(n) for _ in range(-(-taken // n))]
    order = np.concatenate([np.empty(0, dtype=np.intp), *epochs])
    return order[:taken].astype(np.intp, copy=False).reshape(steps, batch)
