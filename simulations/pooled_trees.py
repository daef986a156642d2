"""What scikit-learn and XGBoost make of all sites' features at once, where a learner merges.

A federation of trees is not the pooled one, unlike one of sums: the difference is its price. One of
neighbours is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.utils.class_weight import compute_sample_weight

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.learners.boosting_settings import BoostingSettings
    from common.learners.forest import ForestSettings
    from common.learners.knn import KnnSettings


def _forest(settings: ForestSettings) -> Any:  # noqa: ANN401
    return RandomForestClassifier(
        n_estimators=settings.trees,
        max_depth=settings.max_depth or None,
        min_samples_leaf=settings.min_leaf,
        max_features=None if settings.max_features == "all" else settings.max_features,
        class_weight="balanced" if settings.class_weight == "balanced" else None,
        random_state=settings.forest_seed,
    )


def _boosting(settings: BoostingSettings) -> Any:  # noqa: ANN401
    from xgboost import XGBClassifier

    return _Balanced(
        XGBClassifier(
            n_estimators=settings.rounds,
            learning_rate=settings.eta,
            max_depth=settings.max_depth,
            min_child_weight=settings.min_child_weight,
            reg_lambda=settings.reg_lambda,
            subsample=settings.subsample,
            colsample_bytree=settings.colsample,
            random_state=settings.boost_seed,
            tree_method="hist",
            n_jobs=1,
        ),
        settings.class_weight,
    )


def _neighbours(settings: KnnSettings) -> Any:  # noqa: ANN401
    return KNeighborsClassifier(settings.neighbours, weights=settings.vote, algorithm="brute")


class _Balanced:
    """A classifier that knows no class weights, given those of the images."""

    def __init__(self, classifier: Any, class_weight: str) -> None:  # noqa: ANN401
        self._classifier, self._weight = classifier, class_weight
        self.predict_proba = classifier.predict_proba

    def fit(self, x: NDArray[Any], y: NDArray[Any]) -> _Balanced:
        """Fit; XGBoost's labels are 0 to k - 1."""
        self.classes_, label = np.unique(y, return_inverse=True)
        balanced = compute_sample_weight("balanced", y) if self._weight == "balanced" else None
        self._classifier.fit(x, label, sample_weight=balanced)
        return self


POOLED_TREES: Mapping[str, Callable[[Any], Any]] = {
    "forest": _forest,
    "xgboost": _boosting,
    "knn": _neighbours,
}


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
