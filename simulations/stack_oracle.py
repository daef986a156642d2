"""The pooled oracle of a stack: scikit-learn's last head over what its members' oracles say."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from simulations.oracle import Oracle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.learners.ensemble.stack import StackSettings

# The last head's own: what a probability of 0 counts as.
_LEAST = 1e-12


def stack_oracle(
    oracles: Sequence[Oracle],
    y: NDArray[np.intp],
    held: NDArray[np.bool_],
    settings: StackSettings,
) -> Oracle:
    """Fit scikit-learn's logistic regression on what members say of held-out images.

    scikit-learn's ``StackingClassifier`` learns from folds of the training images, or with
    ``cv="prefit"`` from all that it is given. Here members learn from the training images and the
    last head from the validation images, so its two steps are made by hand.

    Parameters
    ----------
    oracles : sequence of Oracle
        Of the members, which have seen none of the held-out images.
    y : ndarray of intp, shape (n,)
        Labels.
    held : ndarray of bool, shape (n,)
        The validation images that the last head learns from.
    settings : StackSettings
        Of the last head.
    """
    said = np.hstack([np.log(np.maximum(one.probabilities, _LEAST)) for one in oracles])
    last = LogisticRegression(
        C=1.0 / (settings.alpha_per_image * np.count_nonzero(held)),
        class_weight="balanced" if settings.class_weight == "balanced" else None,
        solver="newton-cholesky",
        tol=1e-10,
        max_iter=10_000,
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        fitted = make_pipeline(StandardScaler(), last).fit(said[held], y[held])
    converged = not any(issubclass(item.category, ConvergenceWarning) for item in caught)
    p = np.zeros_like(oracles[0].probabilities)
    p[:, last.classes_] = fitted.predict_proba(said)
    every = converged and all(one.converged for one in oracles)
    return Oracle(p, p.argmax(axis=1), None, every)
