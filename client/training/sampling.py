"""Which images a step takes: balanced against the class counts of all sites, or shuffled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from common.errors import CohortError

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
        From `common.finetuning.balance.class_weights`.
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
