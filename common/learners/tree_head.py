"""Heads of trees as scikit-learn classifiers: what forests and boosters share."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted, validate_data

from common.learners.one_site_fit import OneSiteFit
from common.learners.tree_arrays import Trees

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from common.learners.base import Arrays
    from common.learners.settings import LearnerSettings


class TreeHead(OneSiteFit):
    """Trees over raw features.

    Attributes
    ----------
    classes_ : ndarray, shape (k,)
        Classes that had training images.
    trees_ : Trees
        The trees.
    """

    settings_type: ClassVar[type[LearnerSettings]]
    classes_: NDArray[Any]
    trees_: Trees
    n_features_in_: int
    # Of all classes, those that had training images.
    _present: NDArray[np.intp]

    def set_fitted(self, arrays: Arrays, classes: NDArray[Any]) -> Self:
        """Take over a fitted model.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            A learner's last state.
        classes : ndarray, shape (classes,)
            Names of all classes; those without training images are dropped.
        """
        self._present = np.flatnonzero(arrays["class_count"])
        self.classes_ = classes[self._present]
        self.trees_ = Trees.of(arrays)
        self.n_features_in_ = int(arrays["dimension"][0])
        self._take(arrays)
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Give probabilities of features of shape (n, dimension): float64, shape (n, k)."""
        check_is_fitted(self, "trees_")
        return self._probabilities(validate_data(self, X, dtype=np.float32, reset=False))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Name the most probable class, shape (n,)."""
        best = self.predict_proba(X).argmax(axis=1)
        predicted: NDArray[Any] = self.classes_[best]
        return predicted

    @abstractmethod
    def _take(self, arrays: Arrays) -> None:
        """Take over what the trees do not hold."""

    @abstractmethod
    def _probabilities(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Give probabilities over the classes that had training images."""
