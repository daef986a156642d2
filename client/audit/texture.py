"""Whether two grey images show the same skin: their fine texture, laid over each other.

What two dermoscopic images share without being of one lesion is coarse: a dark blob in the
middle, a vignette, the light. So each image is reduced to structure of one to two pixels of its
thumbnail (a difference of Gaussians), every region is given the same contrast, and the middle of
the one is moved over the other. The best normalised correlation is the likeness (J. P. Lewis,
*Fast Normalized Cross-Correlation*, Vision Interface 1995, equation 2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from client.audit.pictures import THUMB_SIDE

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FINE, _COARSE = 0.7, 2.0
# Root mean square of structure, in grey levels, below which a region counts as flat.
_FLAT = 0.5
# The middle of an image, without its vignette, and how far it may have moved, in pixels.
_MARGIN, _SHIFT = 21, 17
_WINDOW = THUMB_SIDE - 2 * _MARGIN
_PLACES = slice(_MARGIN - _SHIFT, _MARGIN + _SHIFT + 1)


def texture(thumb: NDArray[np.uint8]) -> NDArray[np.float16]:
    """Reduce thumbnails to fine structure of even contrast.

    Parameters
    ----------
    thumb : ndarray of uint8, shape (n, 112, 112)
        Grey thumbnails.

    Returns
    -------
    ndarray of float16, shape (n, 112, 112)
        Of about unit variance; zero where the image is flat.
    """
    from scipy.ndimage import gaussian_filter

    grey = thumb.astype(np.float32)
    band = gaussian_filter(grey, (0, _FINE, _FINE)) - gaussian_filter(grey, (0, _COARSE, _COARSE))
    power = gaussian_filter(band * band, (0, 2 * _COARSE, 2 * _COARSE))
    result: NDArray[np.float16] = (band / np.sqrt(power + _FLAT**2)).astype(np.float16)
    return result


def likeness(one: NDArray[np.float16], others: NDArray[np.float16]) -> NDArray[np.float32]:
    """Lay the middle of one image over others.

    Parameters
    ----------
    one : ndarray of float16, shape (112, 112)
        Texture of one image.
    others : ndarray of float16, shape (m, 112, 112)
        Textures of those that it is compared with.

    Returns
    -------
    ndarray of float32, shape (m,)
        Largest correlation over shifts of up to 17 pixels, -1 to 1; 0 where one is flat.
    """
    from scipy.fft import irfft2, rfft2

    shape = (THUMB_SIDE, THUMB_SIDE)
    middle = one[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN].astype(np.float32)
    template = np.zeros(shape, dtype=np.float32)
    template[:_WINDOW, :_WINDOW] = middle - middle.mean()
    field = others.astype(np.float32)
    products = irfft2(rfft2(field) * np.conj(rfft2(template)), s=shape)[:, _PLACES, _PLACES]
    count = np.float32(_WINDOW * _WINDOW)
    squares = _window_sums(field * field) - _window_sums(field) ** 2 / count
    scale = np.sqrt((template**2).sum() * np.maximum(squares, 0.0))
    # Texture has about unit variance: less than a hundredth of it in both is a flat image.
    known = scale > count / 100
    correlation = np.where(known, products / np.where(known, scale, 1.0), 0.0)
    best: NDArray[np.float32] = correlation.max(axis=(1, 2)).astype(np.float32)
    return best


def _window_sums(field: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum the window at every place that the template is laid."""
    corner = np.zeros((len(field), THUMB_SIDE + 1, THUMB_SIDE + 1), dtype=np.float32)
    np.cumsum(np.cumsum(field, axis=1), axis=2, out=corner[:, 1:, 1:])
    first = slice(_MARGIN - _SHIFT, _MARGIN + _SHIFT + 1)
    last = slice(first.start + _WINDOW, first.stop + _WINDOW)
    return (
        corner[:, last, last]
        - corner[:, first, last]
        - corner[:, last, first]
        + corner[:, first, first]
    )
