"""What an iterative head adds to its loss, and the Newton step for both together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from common.learners.class_counts import class_weights
from common.learners.elastic_net_step import minimise_elastic_net
from common.learners.symmetric import solve_positive

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Penalty:
    """An elastic net on coefficients, ``strength (l1_ratio |w|_1 + (1 - l1_ratio) |w|^2 / 2)``.

    Attributes
    ----------
    class_weight : str
        ``balanced`` or ``none``, of the loss.
    l1_ratio : float
        From 0 (L2) to 1 (L1).
    intercept : bool
        Whether intercepts are penalised, too, as in scikit-learn's ``LinearSVC``.
    softmax : bool
        Whether the rows' scores go through one softmax. Two classes then have one free row, as in
        scikit-learn, and more have intercepts that a common constant does not change.
    """

    class_weight: str
    l1_ratio: float = 0.0
    intercept: bool = False
    softmax: bool = False

    def class_weights(self, class_count: NDArray[np.int64]) -> NDArray[np.float64]:
        """Give each class's weight; 0 for a class without images."""
        return class_weights(class_count, self.class_weight)

    def problem(self, strength: float, present: NDArray[np.bool_], size: int) -> PenaltyProblem:
        """Apply it to heads of `size` columns, the last the intercept.

        Parameters
        ----------
        strength : float
            The penalty, in all.
        present : ndarray of bool, shape (classes,)
            Classes that have training images; the others' coefficients stay zero.
        size : int
            Columns.
        """
        rows = present.copy()
        if self.softmax and present.sum() == 2:
            rows[np.flatnonzero(present)[0]] = False
        each = np.ones((len(present), size))
        if not self.intercept:
            each[:, -1] = 0.0
        each *= strength
        free = np.repeat(rows, size)
        shared = np.zeros((len(present), size), dtype=np.bool_)
        if self.softmax and rows.sum() > 1:
            shared[rows, -1] = True
        return PenaltyProblem(
            l1=self.l1_ratio * each.ravel(),
            l2=(1.0 - self.l1_ratio) * each.ravel(),
            free=free,
            shared=shared.ravel(),
        )


@dataclass(frozen=True)
class PenaltyProblem:
    """A penalty by coordinate, and which coordinates may move.

    Attributes
    ----------
    l1, l2 : ndarray of float64, shape (p,)
        Of ``sum l1 |w| + l2 w^2 / 2``.
    free : ndarray of bool, shape (p,)
        Coordinates that may move.
    shared : ndarray of bool, shape (p,)
        Intercepts whose common constant changes nothing.
    """

    l1: NDArray[np.float64]
    l2: NDArray[np.float64]
    free: NDArray[np.bool_]
    shared: NDArray[np.bool_]

    def value(self, point: NDArray[np.float64]) -> float:
        """Give the penalty at a point."""
        return float(self.l1 @ np.abs(point) + 0.5 * self.l2 @ np.square(point))

    def step(
        self,
        hessian: NDArray[np.float64],
        gradient: NDArray[np.float64],
        point: NDArray[np.float64],
    ) -> tuple[NDArray[np.float64], float, tuple[str, ...]]:
        """Give the Newton step from a point, the change that it promises, and notes.

        Parameters
        ----------
        hessian : ndarray of float64, shape (p, p)
            Of the loss alone.
        gradient, point : ndarray of float64, shape (p,)
            Gradient of the loss alone; where.
        """
        free = self.free
        inner = hessian[np.ix_(free, free)]
        common = np.flatnonzero(self.shared[free])
        if len(common):
            # Along the common constant the loss is flat and the gradient zero; any curvature there
            # keeps the intercepts' sum where it is.
            inner[np.ix_(common, common)] += inner[common, common].mean()
        notes: tuple[str, ...] = ()
        l1, l2, at, down = self.l1[free], self.l2[free], point[free], gradient[free]
        if l1.any():
            target = minimise_elastic_net(inner, down, at, l1, l2)
        else:
            inner[np.diag_indices(len(inner))] += l2
            step, notes = solve_positive(inner, down + l2 * at)
            target = at - step
        direction = np.zeros_like(point)
        direction[free] = target - at
        slope = (down + l2 * at) @ (target - at) + l1 @ (np.abs(target) - np.abs(at))
        return direction, float(slope), notes
