"""Feature maps whose inner products approximate a Gaussian kernel: linear heads become RBF ones.

No landmark is a patient's image. Random Fourier features need none. Nystroem's landmarks are
drawn from the normal distribution that has the pooled mean and covariance of the (standardised,
projected) features, which are sums over all training images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import eigh

from common.learners.base import Arrays, ArraySpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Of the landmarks' kernel matrix: what lies below is rounding, as in scikit-learn's Nystroem.
_SMALLEST = 1e-12


def kernel_spec(kind: str, inputs: int, components: int) -> Mapping[str, ArraySpec]:
    """Describe a map's arrays: of ``rff`` or ``nystroem``, from `inputs` to `components`."""
    if kind == "rff":
        return {
            "rff_weight": ArraySpec((inputs, components)),
            "rff_offset": ArraySpec((components,)),
        }
    return {
        "landmark": ArraySpec((components, inputs)),
        "landmark_root": ArraySpec((components, components)),
        "kernel_gamma": ArraySpec((1,), minimum=float(np.finfo(np.float64).tiny)),
    }


def make_kernel_map(
    kind: str,
    variance: NDArray[np.float64],
    components: int,
    gamma: float,
    rng: np.random.Generator,
) -> Arrays:
    """Draw a map.

    Parameters
    ----------
    kind : str
        ``rff``: Rahimi & Recht, NIPS 2007, Algorithm 1. ``nystroem``: Williams & Seeger, NIPS 2000.
    variance : ndarray of float64, shape (inputs,)
        Pooled variance along each input, uncorrelated.
    components : int
        Length of the mapped features.
    gamma : float
        Of ``exp(-gamma |a - b|^2)``; 0 for one over the total variance.
    rng : numpy.random.Generator
        Draws the map.
    """
    # Features that are all constant have no variance; any gamma does.
    gamma = gamma or 1.0 / (float(variance.sum()) or 1.0)
    inputs = len(variance)
    if kind == "rff":
        weight = np.sqrt(2.0 * gamma) * rng.standard_normal((inputs, components))
        return {"rff_weight": weight, "rff_offset": rng.uniform(0.0, 2.0 * np.pi, components)}
    landmark = rng.standard_normal((components, inputs)) * np.sqrt(np.maximum(variance, 0.0))
    values, vectors = eigh(_gaussian_kernel(landmark, landmark, gamma))
    root = (vectors / np.sqrt(np.maximum(values, _SMALLEST))) @ vectors.T
    return {"landmark": landmark, "landmark_root": root, "kernel_gamma": np.array([gamma])}


def apply_kernel_map(arrays: Arrays, z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map features of shape (n, inputs) to float64, shape (n, components)."""
    if "rff_weight" in arrays:
        weight, offset = arrays["rff_weight"], arrays["rff_offset"]
        angles = z @ weight
        angles += offset
        waves: NDArray[np.float64] = np.cos(angles, out=angles)
        waves *= np.sqrt(2.0 / len(offset))
        return waves
    kernel = _gaussian_kernel(z, arrays["landmark"], float(arrays["kernel_gamma"][0]))
    mapped: NDArray[np.float64] = kernel @ arrays["landmark_root"]
    return mapped


def _gaussian_kernel(
    a: NDArray[np.float64], b: NDArray[np.float64], gamma: float
) -> NDArray[np.float64]:
    squares = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1)
    squares -= 2.0 * (a @ b.T)
    kernel: NDArray[np.float64] = np.exp(-gamma * np.maximum(squares, 0.0))
    return kernel
