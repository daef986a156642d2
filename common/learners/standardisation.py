"""Standardisation by the pooled mean and (population) standard deviation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from common.learners.base import Arrays, ArraySpec, Problem

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A spread below float32's resolution of the feature's own magnitude is rounding, not signal, and
# the difference of two sums in float64 cannot resolve it: such a feature counts as constant.
_CONSTANT_BELOW = 1e-13

# How often the square root of the variance is taken.
_ROOTS = {"deviation": 1, "pareto": 2, "none": 0}


def constant_features(second: Arrays) -> NDArray[np.bool_]:
    """Tell which features count as constant, from `Moments.second`: shape (dimension,)."""
    constant: NDArray[np.bool_] = second["variance"] <= _CONSTANT_BELOW * second["square"]
    return constant


@dataclass(frozen=True)
class Standardisation:
    """The transform ``(x - mean) / scale``.

    Attributes
    ----------
    mean, scale : ndarray of float64, shape (dimension,)
        Pooled mean, and standard deviation to a power; the scale of a constant feature is 1, as
        in scikit-learn's ``StandardScaler``.
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]

    @staticmethod
    def spec(problem: Problem) -> Mapping[str, ArraySpec]:
        """Describe what sites need to standardise: ``mean`` and ``scale``."""
        shape = (problem.dimension,)
        smallest = float(np.finfo(np.float64).tiny)
        return {"mean": ArraySpec(shape), "scale": ArraySpec(shape, minimum=smallest)}

    @classmethod
    def from_second(cls, second: Arrays, scale: str = "deviation") -> Standardisation:
        """Derive it from `Moments.second`.

        Parameters
        ----------
        second : mapping of str to ndarray
            Mean, square and variance.
        scale : str
            ``deviation``; ``pareto``, its square root (van den Berg et al., BMC Genomics 7, 142,
            2006, table 1); or ``none``, which is 1.
        """
        variance = np.where(constant_features(second), 1.0, second["variance"])
        for _ in range(_ROOTS[scale]):
            variance = np.sqrt(variance)
        return cls(second["mean"], np.ones_like(variance) if scale == "none" else variance)

    def weighing_last(self, features: int, weight: float) -> Standardisation:
        """Multiply the last features by a weight once they are standardised."""
        if not features:
            return self
        scale = self.scale.copy()
        scale[-features:] /= weight
        return Standardisation(self.mean, scale)

    def first(self, features: int) -> Standardisation:
        """Give that of the first features."""
        return Standardisation(self.mean[:features], self.scale[:features])

    @classmethod
    def from_arrays(cls, arrays: Arrays) -> Standardisation:
        """Read it from a state."""
        return cls(arrays["mean"], arrays["scale"])

    @property
    def arrays(self) -> Arrays:
        """Write it into a state."""
        return {"mean": self.mean, "scale": self.scale}

    def apply(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Standardise features of shape (n, dimension), in float64."""
        z: NDArray[np.float64] = x.astype(np.float64)
        z -= self.mean
        z /= self.scale
        return z
