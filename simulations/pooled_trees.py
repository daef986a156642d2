"""What scikit-learn grows on all sites' features at once: what a union of trees is compared with.

A federation of trees is not the pooled one, unlike one of sums: the difference is its price.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sklearn.ensemble import RandomForestClassifier

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.learners.forest import ForestSettings


def _forest(settings: ForestSettings) -> Any:  # noqa: ANN401
    return RandomForestClassifier(
        n_estimators=settings.trees,
        max_depth=settings.max_depth or None,
        min_samples_leaf=settings.min_leaf,
        max_features=None if settings.max_features == "all" else settings.max_features,
        class_weight="balanced" if settings.class_weight == "balanced" else None,
        random_state=settings.forest_seed,
    )


POOLED_TREES: Mapping[str, Callable[[Any], Any]] = {"forest": _forest}


def fit_pooled_trees(
    learner: str,
    settings: object,
    x: NDArray[Any],
    y: NDArray[Any],
) -> Any:  # noqa: ANN401
    """Fit the pooled counterpart of a learner of `POOLED_TREES`.

    Parameters
    ----------
    learner : str
        Its name.
    settings : object
        Its settings.
    x : ndarray, shape (n, dimension)
        Features of all sites' training images.
    y : ndarray of intp, shape (n,)
        Labels.

    Returns
    -------
    classifier
        With ``classes_`` and ``predict_proba``.
    """
    return POOLED_TREES[learner](settings).fit(x, y)
