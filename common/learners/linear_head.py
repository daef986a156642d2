"""Heads as scikit-learn classifiers: what every linear learner ends in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from scipy.special import softmax
from sklearn.utils.validation import check_is_fitted, validate_data

from common.errors import SettingsError
from common.learners.front import transform
from common.learners.one_site_fit import OneSiteFit

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from common.learners.base import Arrays
    from common.learners.settings import HeadSettings


def linear(head: object) -> LinearHead:
    """Take a head for a linear one.

    Raises
    ------
    SettingsError
        If it is not.
    """
    if not isinstance(head, LinearHead):
        raise SettingsError(f"{type(head).__name__} is no linear head")
    return head


class LinearHead(OneSiteFit):
    """Linear scores of transformed features; the largest wins.

    Attributes
    ----------
    classes_ : ndarray, shape (k,)
        Classes that had training images.
    front_ : mapping of str to ndarray
        The fitted front: ``mean`` and ``scale``, and what a projection or a kernel map has.
    coef_ : ndarray of float64, shape (k, width)
        One row a class, also when there are two.
    intercept_ : ndarray of float64, shape (k,)
    inverse_temperature_ : ndarray of float64, shape (k,)
        What multiplies the scores before the softmax; 1 where nothing was held out for it.
    """

    settings_type: ClassVar[type[HeadSettings]]
    # Of two classes, whether both rows carry the score, with opposite signs.
    symmetric_pair: ClassVar[bool] = False

    classes_: NDArray[Any]
    front_: Arrays
    coef_: NDArray[np.float64]
    intercept_: NDArray[np.float64]
    inverse_temperature_: NDArray[np.float64]
    n_features_in_: int

    def set_fitted(self, arrays: Arrays, classes: NDArray[Any]) -> Self:
        """Take over a fitted model.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            A learner's last state.
        classes : ndarray, shape (classes,)
            Names of all classes; those without training images are dropped.
        """
        own = ("coef", "intercept", "inverse_temperature", "class_count")
        present = np.flatnonzero(arrays["class_count"])
        self.classes_ = classes[present]
        self.coef_, self.intercept_ = arrays["coef"][present], arrays["intercept"][present]
        self.inverse_temperature_ = arrays["inverse_temperature"][present]
        self.front_ = {name: array for name, array in arrays.items() if name not in own}
        self.n_features_in_ = len(arrays["mean"])
        return self

    def scores(self, X: ArrayLike) -> NDArray[np.float64]:
        """Score features of shape (n, dimension): float64, shape (n, k), before any temperature."""
        check_is_fitted(self)
        x = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        scores: NDArray[np.float64] = transform(self.front_, x) @ self.coef_.T + self.intercept_
        return scores

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """Score features as scikit-learn does: for two classes, the second's lead alone."""
        scores = self.scores(X)
        if scores.shape[1] != 2:
            return scores
        lead: NDArray[np.float64] = scores[:, 1] - scores[:, 0]
        return lead / 2 if self.symmetric_pair else lead

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Give the softmax of the scores at the fitted temperature: float64, shape (n, k)."""
        probabilities: NDArray[np.float64] = softmax(
            self.scores(X) * self.inverse_temperature_, axis=1
        )
        return probabilities

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Name the most probable class, shape (n,)."""
        best = (self.scores(X) * self.inverse_temperature_).argmax(axis=1)
        predicted: NDArray[Any] = self.classes_[best]
        return predicted

    def standardised_coef(self) -> NDArray[np.float64]:
        """Give the coefficients of the standardised features, shape (k, dimension).

        A projection is undone, so that the signs and the order of its components do not matter.
        Behind a kernel map, those of the mapped features, shape (k, width).
        """
        check_is_fitted(self)
        mapped = "rff_weight" in self.front_ or "landmark" in self.front_
        if mapped or "components" not in self.front_:
            return self.coef_
        return self.coef_ @ self.front_["components"]
