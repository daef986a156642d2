"""XGBoost at a site: some rounds of boosting from margins, and its trees as our arrays.

A site never loads what another has made into XGBoost: it goes on from the margins that the trees
so far give its images, and takes apart only what its own XGBoost has grown.
"""

from __future__ import annotations

import json
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import SettingsError
from common.learners.tree_arrays import LEAF, Trees, concatenate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


def boost(
    x: NDArray[np.float32],
    y: NDArray[np.intp],
    weight: NDArray[np.float64],
    margin: NDArray[np.float32],
    parameters: Mapping[str, Any],
    rounds: int,
) -> tuple[Trees, NDArray[np.int64]]:
    """Boost from margins.

    Parameters
    ----------
    x : ndarray of float32, shape (n, dimension)
        Features.
    y : ndarray of intp, shape (n,)
        Labels, 0 to k - 1.
    weight : ndarray of float64, shape (n,)
        Of each image.
    margin : ndarray of float32, shape (n, k)
        What the trees so far add up to; of two classes, the first one's is 0.
    parameters : mapping of str to Any
        XGBoost's own, without objective.
    rounds : int
        Rounds of boosting.

    Returns
    -------
    trees : Trees
        One a round for two classes, else one a class and round; one output.
    label : ndarray of int64, shape (trees,)
        The class that each tree is about.

    Raises
    ------
    SettingsError
        If XGBoost is not installed.
    """
    try:
        xgboost = import_module("xgboost")
    except ImportError as error:
        raise SettingsError(
            "learner 'xgboost' needs XGBoost: pip install 'dermafed[boosting]'"
        ) from error
    two = margin.shape[1] == 2
    objective = (
        {"objective": "binary:logistic", "base_score": 0.5}
        if two
        else {"objective": "multi:softprob", "num_class": margin.shape[1], "base_score": 0.0}
    )
    data = xgboost.DMatrix(x, y, weight=weight, base_margin=margin[:, 1] if two else margin)
    grown = xgboost.train({**parameters, **objective, "verbosity": 0}, data, rounds)
    model = json.loads(grown.save_raw("json"))["learner"]["gradient_booster"]["model"]
    trees = concatenate([_arrays_of(tree) for tree in model["trees"]], 1)
    return trees, np.array(model["tree_info"], dtype=np.int64) + int(two)


def _arrays_of(tree: Mapping[str, Any]) -> Trees:
    """Take a tree of XGBoost's apart: a child's number is higher than its parent's there, too."""
    left = np.array(tree["left_children"], dtype=np.int32)
    leaf = left == LEAF
    condition = np.array(tree["split_conditions"], dtype=np.float32)
    # XGBoost's images go left below the threshold, ours up to it.
    below = np.nextafter(condition, np.float32(-np.inf)).astype(np.float64)
    return Trees(
        start=np.array([0, len(left)]),
        feature=np.where(leaf, LEAF, tree["split_indices"]).astype(np.int32),
        threshold=np.where(leaf, 0.0, below),
        left=left,
        right=np.array(tree["right_children"], dtype=np.int32),
        value=np.where(leaf, condition.astype(np.float64), 0.0)[:, None],
    )
