"""What tuning has chosen, as a scikit-learn classifier."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted, validate_data

from common.learners.base import Problem
from common.learners.composed import FITTED
from common.learners.one_site_fit import OneSiteFit
from common.learners.settings import check_settings
from common.learners.tuning.models import chosen_of
from common.learners.tuning.settings import TunedSettings

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from common.learners.base import Arrays, Head

# More than any setting asks for; nothing is fitted.
_ANY_DIMENSION = 2**24


class TunedHead(OneSiteFit):
    """A learner with the best of the settings that were tried, as an estimator.

    Its ``fit`` deals each class's images to the folds by turns, as nothing tells there which of
    them show one lesion.

    Parameters
    ----------
    learner, space, search, candidates, search_seed, metric, folds, at_once
        As in `TunedSettings`.

    Attributes
    ----------
    classes_ : ndarray, shape (k,)
        Classes that had training images.
    best_ : Head
        The chosen candidate, fitted on all training images.
    best_settings_ : str
        What was set of it, as ``trees=50 min_leaf=1``.
    """

    settings_type = TunedSettings
    classes_: NDArray[Any]
    best_: Head
    best_settings_: str
    n_features_in_: int

    def __init__(
        self,
        learner: str = "logistic",
        space: str = "alpha_per_image=0.01|0.1|1",
        search: str = "grid",
        candidates: int = 10,
        search_seed: int = 0,
        metric: str = "balanced_accuracy",
        folds: int = 5,
        at_once: int = 32,
    ) -> None:
        self.learner = learner
        self.space = space
        self.search = search
        self.candidates = candidates
        self.search_seed = search_seed
        self.metric = metric
        self.folds = folds
        self.at_once = at_once

    def set_fitted(self, arrays: Arrays, classes: NDArray[Any]) -> Self:
        """Take over a learner's last arrays and the names of all classes."""
        tried = check_settings(TunedSettings, self.get_params()).candidates_made()
        chosen = tried[chosen_of(arrays, len(tried))]
        # Their names do not depend on the dimension.
        names = chosen.learner(Problem(tuple(map(str, classes)), _ANY_DIMENSION)).state_spec(FITTED)
        self.best_ = chosen.head({name: arrays[name] for name in names}, classes)
        self.best_settings_ = chosen.text
        self.classes_ = self.best_.classes_
        fitted: Any = self.best_
        self.n_features_in_ = fitted.n_features_in_
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Give probabilities of features of shape (n, dimension): float64, shape (n, k)."""
        x = self._checked(X)
        return self.best_.predict_proba(x)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Name a class for each image, shape (n,)."""
        x = self._checked(X)
        return self.best_.predict(x)

    def _checked(self, x: ArrayLike) -> NDArray[Any]:
        check_is_fitted(self, "best_")
        checked: NDArray[Any] = validate_data(self, x, dtype=[np.float64, np.float32], reset=False)
        return checked
