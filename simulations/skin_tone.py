"""The skin's colour in each photograph: the individual typology angle around the lesion."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from common.cohort import UNKNOWN
from common.errors import CohortError, ImageError
from common.features import Progress, no_progress
from common.transform import decode, read_image
from simulations.colour import srgb_to_lab
from simulations.threads import each

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

    from common.cohort import Cohort

CONFOUNDED = (
    "An estimate of the skin's colour in the photograph, confounded with camera, lighting, white "
    "balance and the site's dermatoscope. It is not a skin type, and says nothing of a person."
)

# Upper ends of the groups, in degrees: Chardon, Cretois & Hourseau, "Skin colour typology and
# suntanning pathways", International Journal of Cosmetic Science 13, 1991; the darkest two as in
# Del Bino & Bernerd, "Variations in skin colour and the biological consequences of ultraviolet
# radiation exposure", British Journal of Dermatology 169, supplement 3, 2013.
_ENDS = (-30.0, 10.0, 28.0, 41.0, 55.0)
TONES = ("dark", "brown", "tan", "intermediate", "light", "very light")

NO_MASK, LITTLE_SKIN = "no lesion mask", "too little skin"
BLUISH, UNREADABLE = "bluish skin", "unreadable"

# Less skin than this share of the image's pixels is no measurement.
LEAST_SKIN = 0.05
# The skin beside a lesion is reddened or pigmented itself: this share of the shorter side around
# the mask is left out.
_MARGIN = 0.04
# Corners are often shaded: what lies outside of an ellipse this much wider and higher than the
# image is left out.
_ELLIPSE = 1.2
# Pixels that are no skin: black borders and hair (L*), and highlights that lost their colour.
_DARKEST, _CLIPPED = 20.0, 250
_LESION = 127
# A mask of another size than its image's is scaled if their aspect ratios agree to this share.
_SAME_SHAPE = 0.01


@dataclass(frozen=True)
class SkinTones:
    """Estimates of the skin's colour in photographs; see `CONFOUNDED`.

    Attributes
    ----------
    angle : ndarray of float64, shape (n,)
        Individual typology angle in degrees; NaN where unknown.
    group : ndarray of str, shape (n,)
        One of `TONES`, or ``"unknown"``.
    why_unknown : ndarray of str, shape (n,)
        `NO_MASK`, `LITTLE_SKIN`, `BLUISH` or `UNREADABLE` where unknown, else empty.
    """

    angle: NDArray[np.float64]
    group: NDArray[np.str_]
    why_unknown: NDArray[np.str_]


def skin_tones(
    cohort: Cohort, progress: Progress = no_progress, *, skip_unreadable: bool = False
) -> SkinTones:
    """Estimate the colour of the skin around every image's lesion.

    The median L* and the median b* over the skin's pixels give the angle. Skin is what lies
    outside of the lesion mask and a margin around it, not in the corners, neither nearly black nor
    clipped. An image is ``"unknown"`` where it has no mask or an empty one, where skin is less
    than `LEAST_SKIN` of its pixels, and where the skin is bluish, for which `typology_angle` is
    not defined; that is frequent where the white balance is off.

    Parameters
    ----------
    cohort : Cohort
        With its images.
    progress : callable
        Called with (images done, images in all).
    skip_unreadable : bool
        Take images that cannot be read, or whose mask cannot, as unknown instead of failing.

    Raises
    ------
    ImageError
        If an image or a mask cannot be read and `skip_unreadable` is False.
    CohortError
        If a mask's aspect ratio is not its image's.
    """

    def work(row: int) -> tuple[float, str]:
        try:
            return _angle(cohort.path[row], cohort.mask[row])
        except ImageError:
            if not skip_unreadable:
                raise
            return math.nan, UNREADABLE

    found = each(work, range(len(cohort)), progress)
    angle = np.array([value for value, _ in found], dtype=np.float64)
    return SkinTones(
        angle, tone_groups(angle), np.array([reason for _, reason in found], dtype=str)
    )


def tone_groups(angle: NDArray[np.float64]) -> NDArray[np.str_]:
    """Group typology angles; an end belongs to the darker group.

    Parameters
    ----------
    angle : ndarray of float64, shape (n,)
        Degrees, NaN where unknown.

    Returns
    -------
    ndarray of str, shape (n,)
        One of `TONES`, or ``"unknown"``.
    """
    groups = np.array([*TONES, UNKNOWN])
    index = np.digitize(angle, _ENDS, right=True)
    return groups[np.where(np.isnan(angle), len(TONES), index)]


def typology_angle(lightness: float, yellowness: float) -> float:
    """Give the individual typology angle, ``arctan((L* - 50) / b*)``, in degrees.

    Chardon, Cretois & Hourseau, International Journal of Cosmetic Science 13, 1991.

    Parameters
    ----------
    lightness, yellowness : float
        L* and b* (CIE, D65).

    Returns
    -------
    float
        From -90 to 90; NaN for a b* of 0 or less, where the arctangent jumps and would call the
        lightest skin the darkest.
    """
    if not yellowness > 0:
        return math.nan
    return math.degrees(math.atan2(lightness - 50.0, yellowness))


def _angle(path: Path, mask_path: Path | None) -> tuple[float, str]:
    """Give one image's angle, or NaN and why."""
    image = decode(read_image(path), path)
    if mask_path is None:
        return math.nan, NO_MASK
    lesion = _lesion(mask_path, image)
    if not lesion.any():
        return math.nan, NO_MASK
    pixels = np.asarray(image)
    around = _around(lesion) & (pixels.max(axis=-1) < _CLIPPED)
    lab = srgb_to_lab(pixels[around])
    skin = lab[lab[:, 0] > _DARKEST]
    if len(skin) < LEAST_SKIN * lesion.size:
        return math.nan, LITTLE_SKIN
    lightness, _, yellowness = np.median(skin, axis=0).tolist()
    angle = typology_angle(lightness, yellowness)
    return angle, BLUISH if math.isnan(angle) else ""


def _lesion(path: Path, image: Image.Image) -> NDArray[np.bool_]:
    """Read a mask at its image's size: where the lesion is."""
    from PIL import Image

    mask = decode(read_image(path), path).convert("L")
    if mask.size != image.size:
        (width, height), (w, h) = image.size, mask.size
        if abs(w * height - h * width) > _SAME_SHAPE * w * height:
            raise CohortError(
                f"{path}: the mask has {w} x {h} pixels, its image {width} x {height}, which is "
                "another shape; replace the mask or remove it"
            )
        mask = mask.resize(image.size, Image.Resampling.NEAREST)
    lesion: NDArray[np.bool_] = np.asarray(mask) > _LESION
    return lesion


def _around(lesion: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which pixels lie neither in the lesion, nor beside it, nor in a corner."""
    from scipy.ndimage import maximum_filter

    height, width = lesion.shape
    margin = round(_MARGIN * min(height, width))
    near = maximum_filter(lesion.astype(np.uint8), size=2 * margin + 1, mode="nearest")
    y = (np.arange(height) - (height - 1) / 2) / (height / 2)
    x = (np.arange(width) - (width - 1) / 2) / (width / 2)
    around: NDArray[np.bool_] = (near == 0) & (np.hypot(y[:, None], x) < _ELLIPSE)
    return around
