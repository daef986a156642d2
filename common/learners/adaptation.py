"""Local adaptation: a site moves the federated head towards its own images, as far as they tell.

The multinomial logistic loss of the site's training images plus a penalty on the distance from the
federated head: the most probable head under a Gaussian prior centred there (Chelba and Acero,
"Adaptation of maximum entropy capitalizer", Computer Speech & Language 20, 2006, section 3). How
strong the prior is, is chosen on the site's own validation images; an infinite one, which leaves
the head as it is, is among the choices. Nothing leaves the site.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from common.learners.front import transform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.learners.base import SiteData
    from common.learners.linear_head import LinearHead

    Head = TypeVar("Head", bound=LinearHead)

# Weight of the squared distance, an image; without end last.
STRENGTHS = (0.01, 0.1, 1.0, np.inf)
_GRADIENT, _STEPS = 1e-4, 200


def adapt(head: Head, classes: tuple[str, ...], train: SiteData, held_out: SiteData) -> Head:
    """Adapt a fitted head to a site.

    Parameters
    ----------
    head : LinearHead
        The federated head, fitted on class names.
    classes : tuple of str
        All classes, which the labels index.
    train, held_out : SiteData
        The site's training images, and its validation images to choose the strength by. Images
        of classes that the head does not know are left out.

    Returns
    -------
    LinearHead
        A copy of the same kind. It is the head itself, as a copy, where the site has no image of
        one part.
    """
    known = np.array([classes.index(str(name)) for name in head.classes_])
    z, y, weight = _rows(head, train, known)
    z_held, y_held, weight_held = _rows(head, held_out, known)
    theta = head.inverse_temperature_[:, None]
    start = np.hstack([head.coef_, head.intercept_[:, None]]) * theta
    best, least = start, _loss(start, z_held, y_held, weight_held)
    if len(y) and len(y_held):
        found = start
        # From strong to weak, each starting from the one before.
        for strength in sorted(STRENGTHS, reverse=True)[1:]:
            found = fit_near(start, z, y, weight, strength, first=found)
            loss = _loss(found, z_held, y_held, weight_held)
            if loss < least:
                best, least = found, loss
    adapted = copy.deepcopy(head)
    adapted.coef_, adapted.intercept_ = best[:, :-1], best[:, -1]
    adapted.inverse_temperature_ = np.ones(len(known))
    return adapted


def fit_near(
    centre: NDArray[np.float64],
    z: NDArray[np.float64],
    y: NDArray[np.intp],
    weight: NDArray[np.float64],
    strength: float,
    first: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Minimise the mean weighted loss plus ``strength / 2`` times the squared distance.

    Parameters
    ----------
    centre : ndarray of float64, shape (k, width + 1)
        Coefficients, the intercept last; the distance is from here.
    z : ndarray of float64, shape (n, width + 1)
        Transformed features with a column of ones.
    y : ndarray of intp, shape (n,)
        Labels, 0 to k - 1.
    weight : ndarray of float64, shape (n,)
        Of each image, adding up to 1.
    strength : float
        Of the penalty, which is on the intercept as well.
    first : ndarray of float64 or None
        Where to begin; `centre` by default.
    """

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        w = flat.reshape(centre.shape)
        log_p = log_softmax(z @ w.T, axis=1)
        away = w - centre
        residual = np.exp(log_p)
        residual[np.arange(len(y)), y] -= 1.0
        loss = -float(weight @ log_p[np.arange(len(y)), y]) + strength / 2 * float((away**2).sum())
        return loss, ((residual * weight[:, None]).T @ z + strength * away).ravel()

    start = centre if first is None else first
    options = {"maxiter": _STEPS, "gtol": _GRADIENT, "ftol": 0.0}
    found = minimize(objective, start.ravel(), jac=True, method="L-BFGS-B", options=options)
    return np.asarray(found.x, dtype=np.float64).reshape(centre.shape)


def _rows(
    head: LinearHead, data: SiteData, known: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.float64]]:
    """Give transformed features with a one, labels among the known classes, and weights."""
    member = np.isin(data.y, known)
    y = np.searchsorted(known, data.y[member])
    z = transform(head.front_, data.x[member].astype(np.float64))
    counts = np.bincount(y, minlength=len(known))
    # Each class that the site has weighs the same, as the metric asks for.
    weight = 1.0 / (max(1, np.count_nonzero(counts)) * np.maximum(counts, 1))[y]
    return np.hstack([z, np.ones((len(y), 1))]), y, weight


def _loss(
    w: NDArray[np.float64],
    z: NDArray[np.float64],
    y: NDArray[np.intp],
    weight: NDArray[np.float64],
) -> float:
    log_p = log_softmax(z @ w.T, axis=1)
    return -float(weight @ log_p[np.arange(len(y)), y])
