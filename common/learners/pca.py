"""Principal components of the standardised features, from the pooled second moments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import eigh

from common.errors import ContributionError
from common.learners.standardisation import Standardisation

if TYPE_CHECKING:
    from numpy.typing import NDArray


def principal_components(
    covariance: NDArray[np.float64], scaler: Standardisation, k: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find the first components of the correlation matrix (Pearson, Phil. Mag. 2, 1901).

    Each component's sign makes its element of largest magnitude positive, as scikit-learn's
    ``PCA`` does.

    Parameters
    ----------
    covariance : ndarray of float64, shape (dimension, dimension)
        Population covariance of the features.
    scaler : Standardisation
        Their standardisation.
    k : int
        Number of components.

    Returns
    -------
    ndarray of float64, shape (k, dimension); ndarray of float64, shape (k,)
        Components, largest first; the standardised features' population variance along each.

    Raises
    ------
    ContributionError
        If the images span fewer than `k` directions.
    """
    size = len(covariance)
    correlation = covariance / np.outer(scaler.scale, scaler.scale)
    values, vectors = eigh(correlation, subset_by_index=(size - k, size - 1))
    variance, components = values[::-1], vectors[:, ::-1].T
    # Below this, eigenvalues are rounding of zero, and their directions are arbitrary.
    bound = 1e-12 * max(float(variance[0]), 0.0)
    if not (variance > bound).all():
        rank = int((variance > bound).sum())
        raise ContributionError(
            f"pca={k}: the training images span {rank} directions only; give pca={rank} or fewer"
        )
    largest = np.abs(components).argmax(axis=1)
    signs = np.sign(components[np.arange(k), largest])
    return np.ascontiguousarray(components * signs[:, None]), variance.copy()
