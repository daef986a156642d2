"""From sRGB to CIE L*a*b* and back.

The tone curve and the primaries are those of IEC 61966-2-1 (sRGB); L*a*b* is that of CIE 15, under
the illuminant D65 for the 2 degree observer. The matrix has more digits than the standard prints:
it is the one that Lindbloom ("RGB/XYZ matrices", brucelindbloom.com) derives from the standard's
primaries and the white of ASTM E308. White is the sum of its columns, so that grey has no colour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Linear red, green and blue to CIE XYZ.
_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
_WHITE = _XYZ.sum(axis=1)
_TO_XYZ = (_XYZ / _WHITE[:, None]).T.astype(np.float32)
_TO_RGB = np.linalg.inv((_XYZ / _WHITE[:, None]).T).astype(np.float32)

# CIE 15: the cube root ends at (6/29)^3, where a line of the same slope takes over.
_JOINT = np.float32(6 / 29)
_SLOPE = np.float32((29 / 6) ** 2 / 3)
_FOOT = np.float32(4 / 29)

_LEVELS = np.arange(256) / 255
_LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(
    np.float32
)


def srgb_to_lab(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Convert sRGB to CIE L*a*b* (D65, 2 degree observer).

    Parameters
    ----------
    rgb : ndarray of uint8, shape (..., 3)
        sRGB, 0 to 255.

    Returns
    -------
    ndarray of float32, shape (..., 3)
        L* from 0 to 100, a* and b* about from -110 to 100.
    """
    xyz = _LINEAR[rgb] @ _TO_XYZ
    f = np.where(xyz > _JOINT**3, np.cbrt(xyz), xyz * _SLOPE + _FOOT)
    lab: NDArray[np.float32] = np.empty_like(f)
    lab[..., 0] = 116 * f[..., 1] - 16
    lab[..., 1] = 500 * (f[..., 0] - f[..., 1])
    lab[..., 2] = 200 * (f[..., 1] - f[..., 2])
    return lab


def lab_to_srgb(lab: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Convert CIE L*a*b* (D65, 2 degree observer) to the nearest levels of sRGB.

    Parameters
    ----------
    lab : ndarray of float32, shape (..., 3)
        What lies outside of sRGB is clipped in each of red, green and blue.

    Returns
    -------
    ndarray of uint8, shape (..., 3)
        sRGB, 0 to 255.
    """
    f = np.empty_like(lab, dtype=np.float32)
    f[..., 1] = (lab[..., 0] + 16) / 116
    f[..., 0] = f[..., 1] + lab[..., 1] / 500
    f[..., 2] = f[..., 1] - lab[..., 2] / 200
    xyz = np.where(f > _JOINT, f**3, (f - _FOOT) / _SLOPE)
    linear = np.clip(xyz @ _TO_RGB, 0, 1)
    curve = np.where(
        linear <= np.float32(0.0031308),
        linear * np.float32(12.92),
        np.float32(1.055) * linear ** np.float32(1 / 2.4) - np.float32(0.055),
    )
    levels: NDArray[np.uint8] = np.rint(curve * 255).astype(np.uint8)
    return levels
