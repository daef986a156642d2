"""Gradient-boosted trees as a scikit-learn classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import softmax

from common.learners.boosting_settings import BoostingSettings
from common.learners.tree_arrays import Trees
from common.learners.tree_head import TreeHead

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.learners.base import Arrays


class BoostingHead(TreeHead):
    """Gradient-boosted trees of all sites as an estimator.

    Parameters
    ----------
    method, rounds, at_once, average, eta, max_depth, min_child_weight, reg_lambda, subsample,
    colsample, class_weight, patience, boost_seed
        As `BoostingSettings`.

    Attributes
    ----------
    classes_ : ndarray, shape (k,)
        Classes that had training images.
    trees_ : Trees
        The trees, of one output.
    """

    settings_type = BoostingSettings
    _arrays: Arrays

    def __init__(
        self,
        method: str = "bagging",
        rounds: int = 50,
        at_once: int = 5,
        average: str = "images",
        eta: float = 0.3,
        max_depth: int = 6,
        min_child_weight: float = 1.0,
        reg_lambda: float = 1.0,
        subsample: float = 1.0,
        colsample: float = 1.0,
        class_weight: str = "balanced",
        patience: int = 0,
        boost_seed: int = 0,
    ) -> None:
        self.method = method
        self.rounds = rounds
        self.at_once = at_once
        self.average = average
        self.eta = eta
        self.max_depth = max_depth
        self.min_child_weight = min_child_weight
        self.reg_lambda = reg_lambda
        self.subsample = subsample
        self.colsample = colsample
        self.class_weight = class_weight
        self.patience = patience
        self.boost_seed = boost_seed

    def _take(self, arrays: Arrays) -> None:
        self._arrays = arrays

    def _probabilities(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        p: NDArray[np.float64] = softmax(
            margins(self._arrays, x)[:, self._present].astype(np.float64), axis=1
        )
        return p


def margins(arrays: Arrays, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """Add up what the trees say of each class, in their order and in float32, as XGBoost does.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        Those of a state.
    x : ndarray of float32, shape (n, dimension)
        Features.

    Returns
    -------
    ndarray of float32, shape (n, classes)
    """
    trees = Trees.of(arrays)
    said = trees.value[trees.leaves(x), 0].astype(np.float32)
    margin = np.zeros((len(x), len(arrays["class_count"])), dtype=np.float32)
    for tree, label in enumerate(arrays["label"]):
        margin[:, label] += said[:, tree]
    return margin
