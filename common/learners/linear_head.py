"""Heads as scikit-learn classifiers: what every linear learner ends in."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from common.learners.base import Problem, SiteData, fit_sites

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from common.learners.base import Arrays, Learner


class LinearHead(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Linear scores of standardised features; the largest wins.

    Attributes
    ----------
    classes_ : ndarray, shape (k,)
        Classes that had training images.
    mean_, scale_ : ndarray of float64, shape (dimension,)
        The standardisation in front.
    coef_ : ndarray of float64, shape (k, dimension)
        One row a class, also when there are two.
    intercept_ : ndarray of float64, shape (k,)
    """

    classes_: NDArray[Any]
    mean_: NDArray[np.float64]
    scale_: NDArray[np.float64]
    coef_: NDArray[np.float64]
    intercept_: NDArray[np.float64]
    n_features_in_: int

    @abstractmethod
    def make_learner(self, problem: Problem) -> Learner:
        """Make the learner that fits this head, with this estimator's parameters."""

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit on features of shape (n, dimension) and labels of shape (n,).

        This is the federation of one site that holds everything.

        Raises
        ------
        ValueError
            If the data are not finite or hold fewer than two classes.
        """
        x, labels = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(labels)
        classes, index = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(f"Classifier can't train when only one class is present: {classes}")
        learner = self.make_learner(Problem(tuple(map(str, classes)), x.shape[1]))
        state = fit_sites(learner, [SiteData(x, index.astype(np.intp))])
        return self.set_fitted(state.arrays, classes)

    def set_fitted(self, arrays: Arrays, classes: NDArray[Any]) -> Self:
        """Take over a fitted model.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            ``mean``, ``scale``, ``coef``, ``intercept`` and ``class_count``.
        classes : ndarray, shape (classes,)
            Names of all classes; those without training images are dropped.
        """
        present = np.flatnonzero(arrays["class_count"])
        self.classes_ = classes[present]
        self.coef_, self.intercept_ = arrays["coef"][present], arrays["intercept"][present]
        self.mean_, self.scale_ = arrays["mean"], arrays["scale"]
        self.n_features_in_ = self.coef_.shape[1]
        return self

    def scores(self, X: ArrayLike) -> NDArray[np.float64]:
        """Score features of shape (n, dimension): float64, shape (n, k)."""
        check_is_fitted(self)
        x = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        z = (x.astype(np.float64) - self.mean_) / self.scale_
        scores: NDArray[np.float64] = z @ self.coef_.T + self.intercept_
        return scores

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """Score features as scikit-learn does: for two classes, the second's lead alone."""
        scores = self.scores(X)
        return (scores[:, 1] - scores[:, 0]) / 2 if scores.shape[1] == 2 else scores

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Turn scores into a softmax: float64, shape (n, k); not calibrated."""
        probabilities: NDArray[np.float64] = softmax(self.scores(X), axis=1)
        return probabilities

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Name the class with the largest score, shape (n,)."""
        best = self.scores(X).argmax(axis=1)
        predicted: NDArray[Any] = self.classes_[best]
        return predicted
