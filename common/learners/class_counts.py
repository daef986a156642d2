"""Class counts: how many images of each class there are over all sites."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from common.learners.base import Arrays, ArraySpec, Problem, SiteData

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ClassCounts:
    """The sum of one-hot labels.

    Parameters
    ----------
    problem : Problem
        The classes.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def spec(self) -> Mapping[str, ArraySpec]:
        """Describe the sum: ``class_count``, int64, one element a class."""
        shape = (len(self.problem.classes),)
        return {"class_count": ArraySpec(shape, "int64", minimum=0, times_counted=1)}

    def sums(self, data: SiteData) -> Arrays:
        """Count a site's labels."""
        count = np.bincount(data.y, minlength=len(self.problem.classes))
        return {"class_count": count.astype(np.int64)}


def balanced_weights(class_count: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weigh classes inversely to their frequency.

    ``n / (k n_c)`` over the k classes that have images, as scikit-learn's ``"balanced"``
    (King & Zeng, Political Analysis 9, 2001); 0 for a class without.

    Parameters
    ----------
    class_count : ndarray of int64, shape (classes,)
        Images of each class over all sites.

    Returns
    -------
    ndarray of float64, shape (classes,)
    """
    present = class_count > 0
    weights = np.zeros(len(class_count))
    weights[present] = class_count.sum() / (present.sum() * class_count[present])
    return weights


def class_weights(class_count: NDArray[np.int64], kind: str) -> NDArray[np.float64]:
    """Weigh classes: ``"balanced"``, or ``"none"`` for 1 where there are images and 0 elsewhere."""
    if kind == "balanced":
        return balanced_weights(class_count)
    return (class_count > 0).astype(np.float64)
