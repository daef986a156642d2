"""What an iterative head minimises, as sums over images at a point."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy.special import logsumexp

from common.learners.symmetric import add_products, pack, packed_length, unpack

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Images:
    """Some images at a point.

    Attributes
    ----------
    z : ndarray of float64, shape (n, p), C order
        Transformed features with a trailing 1.
    y : ndarray of intp, shape (n,)
        Labels.
    weight : ndarray of float64, shape (n,)
        Weights.
    """

    z: NDArray[np.float64]
    y: NDArray[np.intp]
    weight: NDArray[np.float64]


class Loss(Protocol):
    """A convex loss of linear scores, one row of coefficients a class.

    `blocks` are the pairs of rows whose second derivatives may differ from zero, upper triangle.
    """

    quadratic: bool

    def blocks(self, classes: int) -> list[tuple[int, int]]:
        """List the blocks of the Hessian that are sent."""

    def derivatives(
        self, images: Images, coef: NDArray[np.float64], present: NDArray[np.bool_]
    ) -> tuple[float, NDArray[np.float64], Iterable[NDArray[np.float64]]]:
        """Give the loss, its gradient by the scores (n, classes), and each block's curvature (n,).

        The curvature is the second derivative by the two rows' scores, weights included.
        """


class MultinomialLoss:
    """The weighted log loss of a softmax over the classes that have training images."""

    quadratic = True

    def blocks(self, classes: int) -> list[tuple[int, int]]:
        """List every pair of classes."""
        return [(a, b) for b in range(classes) for a in range(b + 1)]

    def derivatives(
        self, images: Images, coef: NDArray[np.float64], present: NDArray[np.bool_]
    ) -> tuple[float, NDArray[np.float64], Iterable[NDArray[np.float64]]]:
        """Give the loss, its gradient by the scores, and curvatures (McCullagh & Nelder, 6.4)."""
        scores = np.where(present, images.z @ coef.T, -np.inf)
        own, weight = np.arange(len(images.y)), images.weight
        normaliser = logsumexp(scores, axis=1)
        loss = float(weight @ (normaliser - scores[own, images.y])) if len(own) else 0.0
        p = np.exp(scores - normaliser[:, None])
        residual = p.copy()
        residual[own, images.y] -= 1.0
        residual *= weight[:, None]
        # The others' probability, added up: one less p has no digits left where p is nearly one.
        others = p @ (1.0 - np.eye(p.shape[1]))
        curvatures = (
            weight * p[:, a] * (others[:, a] if a == b else -p[:, b])
            for a, b in self.blocks(coef.shape[0])
        )
        return loss, residual, curvatures


class SquaredHinge:
    """The weighted squared hinge loss of one-versus-rest scores."""

    quadratic = False

    def blocks(self, classes: int) -> list[tuple[int, int]]:
        """List the classes: their problems do not touch each other."""
        return [(a, a) for a in range(classes)]

    def derivatives(
        self, images: Images, coef: NDArray[np.float64], present: NDArray[np.bool_]
    ) -> tuple[float, NDArray[np.float64], Iterable[NDArray[np.float64]]]:
        """Give the loss, its gradient by the scores, and generalised curvatures.

        Keerthi & DeCoste, J. Machine Learning Research 6, 2005, section 2.
        """
        target = np.where(images.y[:, None] == np.arange(len(coef)), 1.0, -1.0)
        slack = np.maximum(1.0 - target * (images.z @ coef.T), 0.0)
        slack[:, ~present] = 0.0
        weighted = images.weight[:, None] * slack
        loss = float((weighted * slack).sum())
        active = 2.0 * images.weight[:, None] * (slack > 0)
        return loss, -2.0 * target * weighted, (active[:, a] for a in range(len(coef)))


def derivative_sums(
    loss: Loss,
    images: Images,
    coef: NDArray[np.float64],
    present: NDArray[np.bool_],
    *,
    hessian: bool,
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Sum a loss and its derivatives.

    Returns
    -------
    float, ndarray of float64 (classes, p), ndarray of float64 (blocks, p (p + 1) / 2)
        Loss, gradient, and the blocks of the Hessian, packed; no block if not asked for.
    """
    value, by_score, curvatures = loss.derivatives(images, coef, present)
    size = images.z.shape[1]
    gradient = by_score.T @ images.z
    if not hessian:
        return value, gradient, np.zeros((0, packed_length(size)))
    packed = []
    for curvature in curvatures:
        # An off-diagonal block is negative definite: its sign is put back after the product.
        sign = -1.0 if curvature.sum() < 0 else 1.0
        root = np.sqrt(np.abs(curvature))
        used = root > 0
        rows = np.ascontiguousarray(images.z[used] * root[used, None])
        packed.append(sign * pack(add_products(rows)))
    return value, gradient, np.array(packed)


def full_hessian(
    loss: Loss, packed: NDArray[np.float64], classes: int, size: int
) -> NDArray[np.float64]:
    """Assemble the Hessian from its packed blocks: float64, shape (classes size, classes size)."""
    hessian = np.zeros((classes, size, classes, size))
    for (a, b), block in zip(loss.blocks(classes), packed, strict=True):
        matrix = unpack(block, size)
        hessian[a, :, b] = matrix
        hessian[b, :, a] = matrix
    return hessian.reshape(classes * size, classes * size)
