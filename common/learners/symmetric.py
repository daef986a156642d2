"""Symmetric matrices as they travel: the upper triangle, packed by columns; and their solution."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, eigh
from scipy.linalg.blas import dsyrk
from scipy.linalg.lapack import dpocon, dpotrf, dtpttr, dtrttp

from common.errors import ContributionError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def packed_length(size: int) -> int:
    """Count the elements of a packed symmetric matrix of `size` rows."""
    return size * (size + 1) // 2


def pack(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pack the upper triangle, column after column: float64, shape (p (p + 1) / 2,)."""
    packed: NDArray[np.float64] = dtrttp(matrix, uplo="U")[0]
    return packed


def unpack(packed: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Give the full symmetric matrix, float64, shape (size, size)."""
    upper = np.triu(dtpttr(size, packed, uplo="U")[0])
    full: NDArray[np.float64] = upper + np.triu(upper, 1).T
    return full


def add_products(
    rows: NDArray[np.float64], upper: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Add ``rows' rows`` to an upper triangle.

    Parameters
    ----------
    rows : ndarray of float64, shape (n, p), C order
        Rows, already multiplied by the roots of their weights.
    upper : ndarray of float64, shape (p, p), Fortran order, or None
        What to add to; overwritten.

    Returns
    -------
    ndarray of float64, shape (p, p), Fortran order
        Its lower triangle has no meaning.
    """
    if upper is None:
        upper = np.zeros((rows.shape[1], rows.shape[1]), order="F")
    if not len(rows):
        return upper
    # rows is in C order, so that its transpose is the Fortran matrix that BLAS wants.
    product: NDArray[np.float64] = dsyrk(1.0, rows.T, beta=1.0, c=upper, overwrite_c=True)
    return product


def unpack_upper(packed: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Give the upper triangle alone, Fortran order; what is below has no meaning."""
    upper: NDArray[np.float64] = dtpttr(size, packed, uplo="U")[0]
    return upper


def check_positive(name: str, upper: NDArray[np.float64]) -> None:
    """Refuse a matrix with a negative eigenvalue beyond rounding.

    A Gram matrix over fewer images than dimensions is singular, and its zeros come out as
    rounding of either sign: up to p eps times the trace.

    Parameters
    ----------
    name : str
        Of the matrix.
    upper : ndarray of float64, shape (p, p), finite
        Its upper triangle; overwritten if in Fortran order.

    Raises
    ------
    ContributionError
        Naming the matrix; also if it is not finite.
    """
    diagonal = np.diag(upper)
    with np.errstate(over="ignore", invalid="ignore"):
        trace = float(diagonal.sum())
    if not np.isfinite(trace):
        raise ContributionError(f"{name}: its diagonal, or the sum of it, is not finite")
    size = len(upper)
    slack = 4.0 * size * np.finfo(np.float64).eps * max(trace, np.finfo(np.float64).tiny)
    shifted = np.asfortranarray(upper)
    shifted[np.diag_indices(size)] += slack
    factor, failed = dpotrf(shifted, overwrite_a=True, clean=False)
    # Only what is not finite gives a factor that is not.
    if trace < 0 or failed or not np.isfinite(np.diag(factor)).all():
        raise ContributionError(f"{name}: has a negative eigenvalue, which no images can give")


def solve_positive(
    matrix: NDArray[np.float64], right: NDArray[np.float64]
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Solve a positive definite system.

    Parameters
    ----------
    matrix : ndarray of float64, shape (p, p)
        Symmetric.
    right : ndarray of float64, shape (p,) or (p, k)
        Right-hand sides.

    Returns
    -------
    ndarray of float64, tuple of str
        The solution; and a line for the operator where the matrix is singular to rounding and
        the solution is the one of least norm.

    Raises
    ------
    ContributionError
        If the matrix has a negative eigenvalue beyond rounding or is not finite.
    """
    rounding = 8.0 * len(matrix) * np.finfo(np.float64).eps
    try:
        factor = cho_factor(matrix)
        # A singular matrix has a factor, too, if its last pivots round to above zero.
        norm = float(np.abs(matrix).sum(axis=0).max())
        if dpocon(factor[0], norm)[0] > rounding:
            return cho_solve(factor, right), ()
    except LinAlgError:
        pass
    except ValueError as error:
        raise ContributionError("no images can have the sums of the sites") from error
    values, vectors = eigh(matrix)
    bound = rounding * float(np.abs(values).max())
    if values[0] < -bound:
        raise ContributionError("no images can have the sums of the sites: a negative eigenvalue")
    kept = values > bound
    if not kept.any():
        raise ContributionError("no images can have the sums of the sites: all are zero")
    basis = vectors[:, kept]
    solution = basis @ ((basis.T @ right).T / values[kept]).T
    if kept.all():
        return solution, ()
    note = (
        f"singular to rounding (rank {int(kept.sum())} of {len(matrix)}): solved by least norm; "
        "a larger alpha_per_image makes it regular"
    )
    return solution, (note,)
