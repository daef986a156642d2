"""Choosing one setting of a learner by cross-validation over lesions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from common.errors import ContributionError, SettingsError
from common.learners.base import ArraySpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.learners.base import State

_MOST = 1000
_SAME = 1e-12


@dataclass(frozen=True)
class Selection:
    """A searched setting's results.

    Attributes
    ----------
    values : ndarray of float64, shape (a,)
        Values tried, strongest regularisation first.
    scores : ndarray of float64, shape (a, folds)
        Balanced accuracy of each value on each held-out fold; NaN where a fold has no image.
    """

    values: NDArray[np.float64]
    scores: NDArray[np.float64]

    @classmethod
    def of(cls, state: State) -> Selection | None:
        """Read a learner's choice from its last state, None if it made none."""
        if "selection.value" not in state.memory:
            return None
        return cls(state.memory["selection.value"], state.memory["selection.score"])

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean over folds, shape (a,)."""
        mean: NDArray[np.float64] = np.nanmean(self.scores, axis=1)
        return mean

    @property
    def standard_error(self) -> NDArray[np.float64]:
        """Standard error of that mean over folds, shape (a,); it takes folds as independent."""
        folds = np.sum(~np.isnan(self.scores), axis=1)
        spread = np.nanstd(self.scores, axis=1, ddof=1)
        error: NDArray[np.float64] = spread / np.sqrt(folds)
        return error

    @property
    def chosen(self) -> int:
        """Position of the largest mean; of equal ones, the strongest regularisation."""
        # Equal means of other hits may differ in their last digit.
        mean = self.mean
        return int((mean >= mean.max() - _SAME).argmax())

    @property
    def value(self) -> float:
        """The chosen value."""
        return float(self.values[self.chosen])


def parse_search(text: str, seed: int) -> NDArray[np.float64]:
    """Read ``grid:LOW:HIGH:COUNT`` or ``random:LOW:HIGH:COUNT``.

    Returns
    -------
    ndarray of float64
        The values, largest first.

    Raises
    ------
    SettingsError
        If the text is neither, or a number is out of bounds.
    """
    kind, *parts = text.split(":")
    try:
        low, high, count = float(parts[0]), float(parts[1]), int(parts[2])
    except (ValueError, IndexError) as error:
        raise SettingsError(f"search {text!r}: give grid:LOW:HIGH:COUNT or random:...") from error
    if kind not in ("grid", "random") or len(parts) != 3:
        raise SettingsError(f"search {text!r}: give grid:LOW:HIGH:COUNT or random:LOW:HIGH:COUNT")
    if not (0.0 < low <= high < math.inf and 1 <= count <= _MOST):
        raise SettingsError(f"search {text!r}: needs 0 < LOW <= HIGH and COUNT from 1 to {_MOST}")
    if kind == "grid":
        return np.geomspace(high, low, count)
    drawn = np.random.default_rng(seed).uniform(math.log(low), math.log(high), count)
    return np.sort(np.exp(drawn))[::-1]


def hit_spec(shape: tuple[int, ...], folds: int, classes: int) -> Mapping[str, ArraySpec]:
    """Describe ``held``, images of each fold and class, and ``hits``, those predicted right.

    Parameters
    ----------
    shape : tuple of int
        Leading axes of ``hits``: what was tried.
    folds, classes : int
        The last two axes of both.
    """
    return {
        "held": ArraySpec((folds, classes), "int64", minimum=0, times_counted=1),
        "hits": ArraySpec((*shape, folds, classes), "int64", minimum=0, part_of="held"),
    }


def check_folds(held: NDArray[np.int64]) -> None:
    """Refuse folds that say nothing of a choice's error.

    Raises
    ------
    ContributionError
        If fewer than two of them hold images.
    """
    if np.count_nonzero(held.sum(axis=1)) < 2:
        raise ContributionError("fewer than two folds hold training images; use fewer folds")


def fold_scores(hits: NDArray[np.int64], held: NDArray[np.int64]) -> NDArray[np.float64]:
    """Balanced accuracy on each fold, over the classes that it has images of.

    Parameters
    ----------
    hits : ndarray of int64, shape (..., folds, classes)
        Images predicted right.
    held : ndarray of int64, shape (folds, classes)
        Images.

    Returns
    -------
    ndarray of float64, shape (..., folds)
        NaN where a fold has no image.
    """
    present = held > 0
    sensitivity = np.where(present, hits / np.maximum(held, 1), 0.0)
    classes = present.sum(axis=-1)
    mean = sensitivity.sum(axis=-1) / np.maximum(classes, 1)
    scores: NDArray[np.float64] = np.where(classes > 0, mean, np.nan)
    return scores
