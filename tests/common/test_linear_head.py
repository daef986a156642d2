"""Fitted heads are scikit-learn classifiers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from common.learners.ridge import RidgeHead


@parametrize_with_checks([RidgeHead()])  # type: ignore[untyped-decorator]
def test_the_head_keeps_scikit_learns_contract(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fitting_the_head_is_the_pooled_fit(classes: int, dtype: type) -> None:
    rng = np.random.default_rng(0)
    labels = np.array(["mel", "nv", "bcc", "df"])[rng.integers(0, classes, 200)]
    x: NDArray[Any] = rng.normal(size=(200, 7)).astype(dtype)
    head = RidgeHead(alpha_per_image=0.5).fit(x, labels)
    pooled = make_pipeline(StandardScaler(), RidgeClassifier(100.0, class_weight="balanced"))
    pooled.fit(x.astype(np.float64), labels)
    assert head.classes_.tolist() == pooled.classes_.tolist()
    np.testing.assert_array_equal(head.predict(x), pooled.predict(x.astype(np.float64)))
    np.testing.assert_allclose(
        head.decision_function(x), pooled.decision_function(x.astype(np.float64)), atol=1e-10
    )


def test_probabilities_are_the_softmax_of_the_scores() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(60, 3)), rng.integers(0, 3, 60)
    head = RidgeHead().fit(x, y)
    probabilities = head.predict_proba(x)
    np.testing.assert_allclose(probabilities, softmax(head.scores(x), axis=1))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    np.testing.assert_array_equal(head.classes_[probabilities.argmax(axis=1)], head.predict(x))


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function", "scores"])
def test_a_head_that_is_not_fitted_says_so(method: str) -> None:
    with pytest.raises(NotFittedError):
        getattr(RidgeHead(), method)(np.zeros((1, 2)))


def test_a_clone_keeps_the_penalty_and_not_the_fit() -> None:
    head = RidgeHead(alpha_per_image=3.0).fit(np.eye(4), [0, 1, 0, 1])
    copy = clone(head)
    assert copy.get_params() == {"alpha_per_image": 3.0}
    assert not hasattr(copy, "coef_")
