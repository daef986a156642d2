"""What every head is: a scikit-learn classifier whose ``fit`` is the federation of one site."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from sklearn.base import BaseEstimator, ClassifierMixin

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class OneSiteFit(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier that a learner fits."""

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit on features of shape (n, dimension) and labels of shape (n,).

        This is the federation of one site that holds everything.

        Raises
        ------
        ValueError
            If the data are not finite or hold fewer than two classes.
        SettingsError
            If a parameter is out of bounds.
        """
        # Here, since it needs the learners, and they need their heads.
        from common.learners.federate import fit_alone

        head: Any = self
        fitted: Self = fit_alone(head, X, y)
        return fitted
