"""Heads of ensembles as scikit-learn classifiers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted, validate_data

from common.learners.ensemble.blocks import features_of
from common.learners.one_site_fit import OneSiteFit

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from common.learners.base import Arrays, Head
    from common.learners.ensemble.members import EnsembleSettings


class EnsembleHead(OneSiteFit):
    """Probabilities made of those of several heads; the largest wins.

    Attributes
    ----------
    classes_ : ndarray, shape (k,)
        Classes that it can name.
    heads_ : sequence of Head
        The fitted members.
    """

    settings_type: ClassVar[type[EnsembleSettings]]

    classes_: NDArray[Any]
    heads_: Sequence[Head]
    n_features_in_: int
    # Names of all classes, and the positions of `classes_` among them.
    _all: NDArray[Any]
    _present: NDArray[np.intp]

    def set_fitted(self, arrays: Arrays, classes: NDArray[Any]) -> Self:
        """Take over a fitted model.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            A learner's last state.
        classes : ndarray, shape (classes,)
            Names of all classes; those that the model never names are dropped.
        """
        self._all = classes
        self._present = np.flatnonzero(arrays["class_count"])
        self.classes_ = classes[self._present]
        self.heads_ = self._take(arrays, classes)
        self.n_features_in_ = features_of(self.heads_)
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Give probabilities of features of shape (n, dimension): float64, shape (n, k)."""
        check_is_fitted(self, "heads_")
        return self._combine(validate_data(self, X, dtype=[np.float64, np.float32], reset=False))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Name the most probable class, shape (n,)."""
        best = self.predict_proba(X).argmax(axis=1)
        predicted: NDArray[Any] = self.classes_[best]
        return predicted

    @abstractmethod
    def _take(self, arrays: Arrays, classes: NDArray[Any]) -> Sequence[Head]:
        """Make the members' heads of a model's arrays."""

    @abstractmethod
    def _combine(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Give probabilities over the classes of the model."""
