"""The pooled oracle: what scikit-learn fits on all sites' features at once.

It is what an exact federation must equal. It lives in the lab, since a coordinator never has
pooled data, and it shares no code with our learners.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import softmax
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from common.errors import SettingsError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Oracle:
    """A pooled fit.

    Attributes
    ----------
    probabilities : ndarray of float64, shape (n, classes)
        For every image asked for; 0 for a class without training images.
    coef : ndarray of float64, shape (k, dimension)
        Of the standardised features; one row a class that has training images.
    """

    probabilities: NDArray[np.float64]
    coef: NDArray[np.float64]


def _ridge(images: int, alpha_per_image: float) -> Pipeline:
    ridge = RidgeClassifier(alpha=alpha_per_image * images, class_weight="balanced")
    return make_pipeline(StandardScaler(), ridge)


_ORACLES: Mapping[str, Callable[[int, float], Pipeline]] = {"ridge": _ridge}


def fit_oracle(
    learner: str,
    alpha_per_image: float,
    x: NDArray[Any],
    y: NDArray[np.intp],
    train: NDArray[np.bool_],
    classes: int,
) -> Oracle:
    """Fit scikit-learn's counterpart of a learner on pooled features, in float64.

    Parameters
    ----------
    learner : str
        Name of the learner.
    alpha_per_image : float
        Its penalty, divided by the number of training images.
    x : ndarray, shape (n, dimension)
        Features of all images.
    y : ndarray of intp, shape (n,)
        Labels.
    train : ndarray of bool, shape (n,)
        Which images to fit on.
    classes : int
        Number of classes.

    Raises
    ------
    SettingsError
        If the learner has no oracle.
    """
    if learner not in _ORACLES:
        raise SettingsError(f"learner {learner!r} has no pooled oracle; give it one beside it")
    pipeline = _ORACLES[learner](int(train.sum()), alpha_per_image)
    x64 = x.astype(np.float64)
    pipeline.fit(x64[train], y[train])
    scores = pipeline.decision_function(x64)
    coef = pipeline[-1].coef_
    if scores.ndim == 1:
        scores, coef = np.stack([-scores, scores], axis=1), np.stack([-coef.ravel(), coef.ravel()])
    probabilities = np.zeros((len(x), classes))
    probabilities[:, pipeline.classes_] = softmax(scores, axis=1)
    return Oracle(probabilities, coef)


def relative_error(found: NDArray[np.float64], reference: NDArray[np.float64]) -> float:
    """Give the Frobenius norm of the difference over that of the reference."""
    return float(np.linalg.norm(found - reference) / np.linalg.norm(reference))
