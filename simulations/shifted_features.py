"""Features of a cohort whose images look as if other sites had taken them.

The map from one site's look to another's is the same for every image of the site, so what makes an
image differ from its site's typical image stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from common.errors import CohortError
from common.feature_cache import FeatureCache
from common.features import Progress, extract, no_progress
from common.transform import Transform
from simulations.changed_pixels import counted_from, with_transform
from simulations.colour import lab_to_srgb, srgb_to_lab
from simulations.looks import BLURS, SIDE, Look

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from common.backbones import Backbone
    from common.cohort import Cohort

# Below this L*, the change of a* and b* fades out: what is black has no colour to change.
_DARK = np.float32(25)


@dataclass(frozen=True)
class Shift:
    """From one look to another: ``lab * scale + offset`` after a Gaussian blur.

    The change of a* and b* fades out in what is nearly black.

    Attributes
    ----------
    scale, offset : tuple of float
        Of L*, a* and b*.
    blur : float
        Standard deviation in pixels of a square of `SIDE`; 0 for none.
    """

    scale: tuple[float, float, float]
    offset: tuple[float, float, float]
    blur: float


@dataclass(frozen=True)
class LookTransform(Transform):
    """A transform whose square of pixels is given another look.

    Attributes
    ----------
    shift : Shift
        What is done to the square.
    """

    shift: Shift

    @property
    def key(self) -> str:
        """Text that changes whenever the pixels or their scale would."""
        numbers = ",".join(map(repr, (*self.shift.scale, *self.shift.offset, self.shift.blur)))
        return f"{super().key},lab-look={numbers},dark={_DARK:g}"

    def pixels(self, data: bytes, source: Path) -> NDArray[np.uint8]:
        """Decode, crop and resize one image, and give it the look.

        Parameters
        ----------
        data : bytes
            The file's content.
        source : Path
            Where it came from, for the error message.

        Returns
        -------
        ndarray of uint8, shape (size, size, 3)
            RGB pixels; colours outside of sRGB are clipped.

        Raises
        ------
        ImageError
            If the bytes are not a complete image.
        """
        from scipy.ndimage import gaussian_filter

        lab = srgb_to_lab(super().pixels(data, source))
        blur = self.shift.blur * (self.resize or self.size) / SIDE
        if blur:
            lab = gaussian_filter(lab, (blur, blur, 0.0), mode="nearest")
        moved = lab * np.array(self.shift.scale, dtype=np.float32)
        moved += np.array(self.shift.offset, dtype=np.float32)
        share = np.clip(lab[..., :1] / _DARK, 0.0, 1.0)
        moved[..., 1:] = lab[..., 1:] + share * (moved[..., 1:] - lab[..., 1:])
        return lab_to_srgb(moved)


def shift_between(source: Look, target: Look) -> Shift:
    """Find what brings one site's images to another's look.

    Colour: mean and standard deviation of each channel become the target's (Reinhard, Ashikhmin,
    Gooch & Shirley, "Color transfer between images", IEEE Computer Graphics and Applications 21(5),
    2001, equations 10 and 11), of the site's pixels together and not image by image, in L*a*b*
    instead of their log space. A channel without any spread is moved only.

    Blur: as much as makes the source's sharpest edges as wide as the target's. None where the
    target is the sharper one: what a blur has taken cannot be given back.

    Parameters
    ----------
    source, target : Look
        From `measure_looks`.

    Raises
    ------
    CohortError
        If it would take more blur than was measured.
    """
    pairs = list(zip(source.std, target.std, strict=True))
    scale = [there / here if here > 0 else 1.0 for here, there in pairs]
    means = zip(source.mean, target.mean, scale, strict=True)
    offset = [there - here * factor for here, there, factor in means]
    widest = source.edge_widths[-1]
    if target.edge_widths[0] > widest:
        raise CohortError(
            f"site {target.site}: its images are so blurred that even a blur of {BLURS[-1]:g} "
            f"pixels on {SIDE} does not bring those of {source.site} to its look; leave it out"
        )
    return Shift(
        (round(scale[0], 5), round(scale[1], 5), round(scale[2], 5)),
        (round(offset[0], 5), round(offset[1], 5), round(offset[2], 5)),
        _blur_to(source.edge_widths, target.edge_widths[0]),
    )


def _blur_to(widths: tuple[float, ...], width: float) -> float:
    """Interpolate between `BLURS`, on the scale of variances, on which blurs add."""
    # A sum of quantiles may waver where a tiny blur changes next to nothing.
    rising = np.maximum.accumulate(widths)
    variance = np.interp(width**2, rising**2, np.square(BLURS))
    return 0.0 if width <= widths[0] else round(float(np.sqrt(variance)), 3)


def shifted_features(
    cohort: Cohort,
    targets: Sequence[str] | NDArray[np.str_],
    looks: Mapping[str, Look],
    backbone: Backbone,
    cache_folder: Path,
    progress: Progress = no_progress,
) -> NDArray[np.float32]:
    """Give the features of images that have been given other sites' looks.

    An image that shall look like its own site is left as it is, and its plain feature in the cache
    serves. The others are kept in the same folder, a file for each pair of looks, so that an
    interruption loses at most the last few.

    Parameters
    ----------
    cohort : Cohort
        With its images.
    targets : sequence of str, length n
        The acquisition site whose look each image shall have.
    looks : mapping of str to Look
        From `measure_looks`.
    backbone : Backbone
        The frozen network.
    cache_folder : Path
        Where features are looked up and kept.
    progress : callable
        Called with (images done, images in all).

    Returns
    -------
    ndarray of float32, shape (n, dimension)
        One row an image, in the cohort's order.

    Raises
    ------
    CohortError
        If a site has no look, or `shift_between` refuses a pair.
    ImageError
        If images cannot be read; those of other pairs of looks may not have been looked at.
    CacheError, WeightsError
        As `common.features.extract`.
    """
    target = np.asarray(targets)
    if target.shape != cohort.site.shape:
        raise ValueError(f"{target.shape} targets for {len(cohort)} images")
    strangers = sorted({*target.tolist(), *cohort.sites} - looks.keys())
    if strangers:
        raise CohortError(
            f"{cohort.root}: no look was measured for site {strangers[0]}; "
            f"there are: {', '.join(sorted(looks))}"
        )
    pairs = sorted(set(zip(cohort.site.tolist(), target.tolist(), strict=True)))
    shifts = {(a, b): shift_between(looks[a], looks[b]) for a, b in pairs if a != b}
    x = np.empty((len(cohort), backbone.dimension), dtype=np.float32)
    before = 0
    for here, there in pairs:
        rows = np.flatnonzero((cohort.site == here) & (target == there))
        network = backbone
        if here != there:
            network = with_transform(backbone, LookTransform, shift=shifts[here, there])
        paths = [cohort.path[row] for row in rows]
        count = counted_from(before, len(cohort), progress)
        x[rows] = extract(paths, network, FeatureCache(cache_folder, network), progress=count).x
        before += len(rows)
    return x
