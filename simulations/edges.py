"""How wide the sharpest edges of a photograph are: its blur.

The gradient of a step edge that is blurred to the width v peaks at ``1 / sqrt(v^2 + s^2)`` once
smoothed by a Gaussian of standard deviation s, so two smoothings tell v whatever the edge's
contrast (Zhuo & Sim, "Defocus map estimation from a single image", Pattern Recognition 44, 2011,
section 3). A further Gaussian blur adds its variance to that of the edge. Contrast, exposure and
colour cancel; the strongest edges are looked at alone, so that a camera's grain counts little.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The smoothings, in pixels. Narrower ones see the grain, wider ones join neighbouring edges.
_FINE, _COARSE = 1.5, 3.0
# The strongest edges are this share of the pixels; the sharpest of them are their lowest tenth,
# since many borders are soft on the skin itself.
_STRONGEST, _SHARPEST = 0.05, 0.1
# A gradient below this, in L* a pixel, is no edge but rounding.
_FLAT = 0.05
_NARROWEST = 0.1
_RADIUS = 0.46


def inner_disc(side: int) -> NDArray[np.bool_]:
    """Tell which pixels of a square lie well inside its inscribed circle.

    Dark corners and the round edge of a dermatoscope lie outside.

    Parameters
    ----------
    side : int
        Side of the square in pixels.

    Returns
    -------
    ndarray of bool, shape (side, side)
    """
    away = (np.arange(side) - (side - 1) / 2) / side
    inside: NDArray[np.bool_] = np.hypot(away[:, None], away) < _RADIUS
    return inside


def edge_widths(lightness: NDArray[np.float32], blurs: Sequence[float]) -> NDArray[np.float64]:
    """Measure the sharpest edges, as they are or would be after a blur.

    Parameters
    ----------
    lightness : ndarray of float32, shape (side, side)
        L* of the photograph.
    blurs : sequence of float, length b
        Standard deviations of Gaussian blurs in pixels; 0 for none.

    Returns
    -------
    ndarray of float64, shape (b,)
        Standard deviation in pixels of the Gaussian that would make a step this soft, at least
        0.1; NaN throughout for a photograph without any edge.
    """
    disc = inner_disc(len(lightness))
    widths = []
    for blur in blurs:
        # Two Gaussian blurs are one, of the summed variances.
        fine, coarse = _FINE**2 + blur**2, _COARSE**2 + blur**2
        weak, strong = _gradient(lightness, fine)[disc], _gradient(lightness, coarse)[disc]
        least = np.quantile(strong, 1 - _STRONGEST)
        if blur == 0 and least < _FLAT:
            return np.full(len(blurs), np.nan)
        edge = strong >= least
        # An edge that grows with smoothing is many edges; it counts as a very soft one.
        ratio = np.maximum((weak[edge] / strong[edge]) ** 2, 1.001)
        variance = (_COARSE**2 - ratio * _FINE**2) / (ratio - 1)
        sharpest = max(float(np.quantile(variance, _SHARPEST)), _NARROWEST**2)
        widths.append(np.sqrt(sharpest))
    return np.array(widths)


def _gradient(image: NDArray[np.float32], variance: float) -> NDArray[np.float32]:
    from scipy.ndimage import gaussian_gradient_magnitude

    size: NDArray[np.float32] = gaussian_gradient_magnitude(
        image, float(np.sqrt(variance)), mode="nearest", truncate=3.0
    )
    return size
