"""What a model must beat: predictors that look at no image, fitted with scikit-learn.

The most frequent class shows what accuracy alone is worth. The site shortcut predicts from where
and of whom an image is: as far as it succeeds, a classifier could look good for the wrong reason.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from common.cohort import UNKNOWN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.cohort import Cohort

AGE_LIMITS = (30, 45, 60, 75)
_AGE_NAMES = ("below 30", "30 to 44", "45 to 59", "60 to 74", "75 and above")


def age_bands(age: NDArray[np.float64]) -> NDArray[np.str_]:
    """Name each age's band; ``"unknown"`` where it is missing."""
    names = [
        UNKNOWN
        if math.isnan(value)
        else _AGE_NAMES[int(np.searchsorted(AGE_LIMITS, value, "right"))]
        for value in age.tolist()
    ]
    return np.array(names, dtype=np.str_)


def majority(
    cohort: Cohort, train: NDArray[np.intp], test: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Give every test image the classes' shares among the training images, shape (n, k)."""
    fitted = DummyClassifier(strategy="prior").fit(np.zeros((len(train), 1)), cohort.y[train])
    return _over_all(fitted, np.zeros((len(test), 1)), len(cohort.classes))


def site_shortcut(
    cohort: Cohort, train: NDArray[np.intp], test: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Predict from acquisition site, age band, sex and localisation, each alone and additively.

    A balanced multinomial logistic regression. A value that no training image has, such as a
    site left out, says nothing.

    Parameters
    ----------
    cohort : Cohort
        The table.
    train, test : ndarray of intp
        Images to fit on and to predict, as positions in the cohort.

    Returns
    -------
    ndarray of float64, shape (n, k)
    """
    table = np.stack([cohort.site, age_bands(cohort.age), cohort.sex, cohort.localisation], axis=1)
    model = make_pipeline(
        OneHotEncoder(handle_unknown="ignore"),
        LogisticRegression(class_weight="balanced", max_iter=2_000),
    )
    return _over_all(model.fit(table[train], cohort.y[train]), table[test], len(cohort.classes))


def _over_all(fitted: Any, table: NDArray[Any], classes: int) -> NDArray[np.float64]:  # noqa: ANN401
    probabilities = np.zeros((len(table), classes))
    if len(table):
        probabilities[:, fitted.classes_] = fitted.predict_proba(table)
    return probabilities
