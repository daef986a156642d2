"""Predictions with repeated lesions, ties and rare classes, for tests of metrics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from common.metrics import lesion_weights

CLASSES = ("akiec", "bcc", "mel", "nv")
MALIGNANT = ("akiec", "bcc", "mel")


@dataclass(frozen=True)
class Case:
    """Images of lesions with their predictions, and the weights of some resamples.

    Attributes
    ----------
    lesion : ndarray of str, shape (n,)
        Each image's lesion.
    y, predicted : ndarray of intp, shape (n,)
        The truth and the predictions.
    probabilities : ndarray of float64, shape (n, k)
        Of each class.
    weights : ndarray of uint8, shape (1 + draws, n)
        The first row is all ones.
    """

    lesion: NDArray[np.str_]
    y: NDArray[np.intp]
    predicted: NDArray[np.intp]
    probabilities: NDArray[np.float64]
    weights: NDArray[np.uint8]


def make_case(
    seed: int,
    images: int = 120,
    *,
    classes: int = len(CLASSES),
    draws: int = 6,
    steps: int = 0,
    sure: float = 2.0,
    without: tuple[int, ...] = (),
) -> Case:
    """Draw images, two a lesion on average.

    Parameters
    ----------
    seed : int
        Of everything.
    images, classes, draws : int
        How many.
    steps : int
        If positive, scores are rounded so that at most so many different values occur: ties.
    sure : float
        Scale of the scores.
    without : tuple of int
        Classes that no image is of.
    """
    rng = np.random.default_rng(seed)
    lesions = max(1, images // 2)
    kinds = np.array([c for c in range(classes) if c not in without])
    of_lesion = rng.choice(kinds, lesions)
    lesion = rng.integers(0, lesions, images)
    y = of_lesion[lesion].astype(np.intp)
    scores = rng.normal(size=(images, classes))
    scores[np.arange(images), y] += 1.0
    odds = np.exp(sure * (scores - scores.max(axis=1, keepdims=True)))
    probabilities = odds / odds.sum(axis=1, keepdims=True)
    if steps:
        probabilities = np.round(probabilities * steps) / steps
    names = np.array([f"HAM_{i:04d}" for i in lesion], dtype=np.str_)
    return Case(
        lesion=names,
        y=y,
        predicted=probabilities.argmax(axis=1),
        probabilities=probabilities,
        weights=lesion_weights(names, draws, b"case"),
    )
