"""The step of an elastic net: a quadratic under an L1 and an L2 penalty, minimised exactly.

The inner problem of a proximal Newton method (Lee, Sun & Saunders, SIAM J. Optim. 24(3), 2014),
whose quadratic convergence lasts only as long as this is solved almost to rounding. Which
coefficients are zero at the minimum, and the signs of the others, is called a face; on the right
one the minimum is one solve. From near, the semi-smooth Newton method finds it at once, but it
cycles from afar, and descent takes hundreds of sweeps over correlated features. An interior-point
method finds it in some ten factorisations from anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from common.errors import ContributionError
from common.one_thread import one_blas_thread

if TYPE_CHECKING:
    from numpy.typing import NDArray

    _Factor = tuple[NDArray[np.float64], bool]

# Of the largest gradient: what the optimality conditions may be missed by.
_TOLERANCE = 1e-10
# Of the tolerance: where refinement stops, lest rounding errors move w where it is free to move.
_ENOUGH = 1e-4
# Of the diagonal: keeps a singular block's factor finite; refinement takes its effect out again.
_RIDGE = 1e-12
# Of refinements, and of Newton steps: near enough, two or three suffice.
_STEPS = 6
_INTERIOR_STEPS = 50
# Of the mean distance from the boundary: the largest correction of an interior step. Rarely, large
# ones go around in circles; the second attempt is slower and surer.
_CORRECTIONS = (100.0, 1.0)
# Of the coefficients: a face that changes less from one interior step to the next is tried.
_SETTLED = 0.01
# How far an interior step may go towards the boundary.
_TO_BOUNDARY = 0.995


def minimise_elastic_net(
    hessian: NDArray[np.float64],
    gradient: NDArray[np.float64],
    at: NDArray[np.float64],
    l1: NDArray[np.float64],
    l2: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Minimise a quadratic model under the elastic net's penalty.

    The minimum over w of ``gradient'(w - at) + (w - at)' hessian (w - at) / 2 + sum_i l1_i |w_i| +
    sum_i l2_i w_i^2 / 2``; one of them if several are.

    Parameters
    ----------
    hessian : ndarray of shape (p, p)
        Second derivatives at ``at``, float64, symmetric and positive semi-definite.
    gradient, at : ndarray of shape (p,)
        First derivatives, without the penalty's, and where they are taken; float64.
    l1, l2 : ndarray of shape (p,)
        Penalties, float64, not negative; zero for coordinates that are free of them.

    Returns
    -------
    ndarray of shape (p,)
        The minimum, float64, with exact zeros. The optimality conditions hold to 1e-10 of the
        largest derivative of the model at ``at`` or at zero, or of 1 if those are smaller.

    Raises
    ------
    ContributionError
        If there is no minimum, or the numbers are too extreme to find it.
    """
    with one_blas_thread(), np.errstate(all="ignore"):
        curvature, slope = hessian + np.diag(l2), gradient + l2 * at
        largest = max(1.0, np.abs(gradient).max(), np.abs(gradient - hessian @ at).max())
        scale = curvature.diagonal()
        scale = np.maximum(scale, _RIDGE * scale.max() + np.finfo(np.float64).tiny)
        model = _Model(curvature, slope, at, l1, scale, _TOLERANCE * largest)
        found = _newton(model, at, model.face(at, slope))
        for correction in _CORRECTIONS:
            found = _interior(model, correction) if found is None else found
    if found is None:
        raise ContributionError("the sums make no elastic-net step; raise alpha_per_image")
    return found


@dataclass(frozen=True)
class _Model:
    """A quadratic, with the L2 penalty, by its curvature (p, p) and slope at ``at``, and the L1."""

    curvature: NDArray[np.float64]
    slope: NDArray[np.float64]
    at: NDArray[np.float64]
    l1: NDArray[np.float64]
    scale: NDArray[np.float64]  # the curvature's diagonal, kept from zero
    tolerance: float

    def gradient(self, w: NDArray[np.float64]) -> NDArray[np.float64]:
        """Differentiate the quadratic; from ``at`` on, so that little is rounded in small steps."""
        return self.slope + self.curvature @ (w - self.at)

    def is_minimum(self, w: NDArray[np.float64]) -> bool:
        """Tell whether the optimality conditions hold: zero is a subgradient, nearly."""
        gradient = self.gradient(w)
        missed = np.abs(gradient + self.l1 * np.sign(w)) - np.where(w != 0, 0.0, self.l1)
        return bool(missed.max() <= self.tolerance < np.inf)  # false for NaN

    def face(self, w: NDArray[np.float64], gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        """Guess the signs at the minimum: those after a step of each coordinate by itself."""
        after = self.scale * w - gradient
        return np.where(np.abs(after) > self.l1, np.sign(after), 0.0)

    def onto(self, face: NDArray[np.float64], w: NDArray[np.float64]) -> NDArray[np.float64]:
        """Set to zero what is zero on the face."""
        return np.where((face != 0) | (self.l1 == 0), w, 0.0)

    def minimise_on(self, face: NDArray[np.float64], w: NDArray[np.float64]) -> NDArray[np.float64]:
        """Minimise with ``sum_i l1_i face_i w_i`` as the penalty, and zero where the face is."""
        w = self.onto(face, w)
        index = np.flatnonzero((face != 0) | (self.l1 == 0))
        factor = _factor(self.curvature[np.ix_(index, index)], _RIDGE * self.scale[index])
        before = np.inf
        for _ in range(_STEPS if len(index) else 0):
            missed = (self.gradient(w) + self.l1 * face)[index]
            largest = np.abs(missed).max()
            if largest <= _ENOUGH * self.tolerance or not largest < 0.5 * before:
                break
            before = largest
            w[index] -= cho_solve(factor, missed, check_finite=False)
        return w


def _factor(matrix: NDArray[np.float64], ridge: NDArray[np.float64]) -> _Factor:
    """Factor a matrix of shape (q, q), which is overwritten, with a diagonal added."""
    matrix[np.diag_indices(len(matrix))] += ridge
    factor: _Factor = cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
    return factor


def _newton(
    model: _Model, w: NDArray[np.float64], face: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Minimise on faces until one is right; None if they do not settle.

    Semi-smooth Newton: Hintermueller, Ito & Kunisch, SIAM J. Optim. 13(3), 2002.
    """
    wrong_before = np.inf
    for _ in range(_STEPS):
        try:
            w = model.minimise_on(face, w)
        except LinAlgError:
            break
        if model.is_minimum(w):
            return w
        after = model.face(w, model.gradient(w))
        wrong = int(np.count_nonzero(after != face))
        if wrong > 0.5 * wrong_before:
            break
        face, wrong_before = after, wrong
    return None


def _interior(model: _Model, correction: float) -> NDArray[np.float64] | None:
    """Minimise on the faces that an interior point comes to; None if it does not converge."""
    point = _InteriorPoint(model)
    face = tried = np.full_like(model.at, np.nan)
    for _ in range(_INTERIOR_STEPS if len(point.some) else 0):
        try:
            point.advance(correction)
        except LinAlgError:
            return None
        before, face = face, point.face()
        settled = np.count_nonzero(face != before) <= _SETTLED * len(face)
        # A face that is wrong in a few coefficients is put right by Newton's method.
        if settled and (face != tried).any():
            tried = face
            if (found := _newton(model, point.w, face)) is not None:
                return found
        # Where the minimum is not unique, Newton's method may not settle, but the point does.
        w = model.onto(face, point.w)
        if model.is_minimum(w):
            return w
    return None


class _InteriorPoint:
    """Mehrotra's predictor-corrector method, SIAM J. Optim. 2(4), 1992.

    For ``w = plus - minus``, both positive, with the multipliers ``l1 + dual`` and ``l1 - dual``,
    both positive, where the dual tends to the gradient. Eliminating all but the step of w leaves
    the curvature with a positive diagonal added. With q coordinates under an L1 penalty, ``inside``
    is plus, then minus, and ``multiplier`` theirs, both of shape (2 q,).
    """

    def __init__(self, model: _Model) -> None:
        self.model = model
        self.some = some = np.flatnonzero(model.l1)
        self.w, self.dual = model.at.copy(), np.zeros_like(model.at)
        # Far enough inside for the boundary not to stop the first steps.
        size = np.abs(model.at).mean() + np.abs(model.slope).mean() / model.scale.mean()
        self.inside = np.maximum(np.concatenate([self.w[some], -self.w[some]]), 0.0) + size
        self.multiplier = np.tile(model.l1[some], 2)

    def face(self) -> NDArray[np.float64]:
        """Guess the signs at the minimum: of what is larger than its multiplier."""
        plus, minus = np.split(self.multiplier, 2)
        scaled = (self.model.scale * self.w)[self.some]
        face = np.zeros_like(self.w)
        face[self.some] = np.where(scaled > plus, 1.0, np.where(-scaled > minus, -1.0, 0.0))
        return face

    def advance(self, correction: float) -> None:
        """Take one step: one to the boundary, corrected to stay clear of it."""
        spread = self.inside / self.multiplier
        width = np.add(*np.split(spread, 2))
        diagonal = _RIDGE * self.model.scale
        diagonal[self.some] += 1.0 / width
        factor = _factor(self.model.curvature.copy(), diagonal)
        missed = self.model.gradient(self.w) - self.dual
        mean = self.inside @ self.multiplier / len(spread)

        def solve(target: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
            """Find the steps to where ``inside * multiplier`` is the target, to first order."""
            wanted = np.subtract(*np.split(target / self.multiplier, 2)) - self.w[self.some]
            right = -missed
            right[self.some] += wanted / width
            w = cho_solve(factor, right, check_finite=False)
            dual = (wanted - w[self.some]) / width
            multiplier = np.concatenate([dual, -dual])
            inside = target / self.multiplier - self.inside - spread * multiplier
            fastest = max((-inside / self.inside).max(), (-multiplier / self.multiplier).max())
            return w, dual, inside, multiplier, _TO_BOUNDARY / max(fastest, _TO_BOUNDARY)

        _, _, inside, multiplier, length = solve(np.zeros_like(spread))
        ahead = (self.inside + length * inside) @ (self.multiplier + length * multiplier)
        centre = mean * (ahead / len(spread) / mean) ** 3
        second = mean * np.clip(inside * multiplier / mean, -correction, correction)
        w, dual, inside, multiplier, length = solve(centre - second)
        self.inside += length * inside
        self.multiplier += length * multiplier
        self.dual[self.some] += length * dual
        self.w += length * w
        self.w[self.some] = np.subtract(*np.split(self.inside, 2))
