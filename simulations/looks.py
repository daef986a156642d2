"""The look of an acquisition site: its typical colours and blur.

What a site photographs is part of its look: a site of redder lesions looks redder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from common.errors import CohortError
from common.features import Progress, no_progress
from common.transform import Transform, decode, read_image
from simulations.colour import srgb_to_lab
from simulations.edges import edge_widths, inner_disc
from simulations.threads import each

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from common.cohort import Cohort

# Pixels a side of the central square on which looks are measured: blurs are in these pixels.
SIDE = 224
# Blurs after which the edges are measured, in pixels; a blur in between is interpolated.
BLURS = (0.0, 1.0, 2.0, 4.0, 8.0)
MOST_IMAGES = 300
_SQUARE = Transform(size=SIDE, mean=0.0, std=1.0)
# Coarser than what processors differ by, so that the same look gives the same key everywhere.
_DECIMALS = 3


@dataclass(frozen=True)
class Look:
    """What is typical of a site's images, within the circle inside of their central square.

    Attributes
    ----------
    site : str
        The acquisition site.
    images : int
        How many images it was measured on.
    mean, std : tuple of float
        Mean and standard deviation over all pixels of all images, of L*, a* and b*.
    edge_widths : tuple of float
        The median image's width of the sharpest edges (`simulations.edges`) in pixels, after each
        of `BLURS`.
    """

    site: str
    images: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    edge_widths: tuple[float, ...]

    @property
    def sharpness(self) -> float:
        """Give the reciprocal of the width of the images' sharpest edges, per pixel."""
        return 1.0 / self.edge_widths[0]


def measure_looks(
    cohort: Cohort,
    progress: Progress = no_progress,
    *,
    at_most: int = MOST_IMAGES,
    seed: int = 0,
) -> dict[str, Look]:
    """Measure the look of every acquisition site.

    Parameters
    ----------
    cohort : Cohort
        With its images.
    progress : callable
        Called with (images done, images in all).
    at_most : int
        Images a site to measure on; drawn at random where the site has more.
    seed : int
        Seed of that draw, which does not depend on the order of the table's rows.

    Returns
    -------
    dict of str to Look
        By site, sorted.

    Raises
    ------
    CohortError
        If the table does not tell the sites, or no image of a site has an edge in it.
    ImageError
        If an image cannot be read.
    """
    if not cohort.sites_known:
        raise CohortError(
            f"{cohort.root}: the table does not tell the acquisition sites, so there are no looks "
            "to measure; name the site column in cohort.toml"
        )
    rows = {site: _sample(cohort, site, at_most, seed) for site in cohort.sites}
    paths = [cohort.path[row] for sample in rows.values() for row in sample]
    measured = iter(each(_measure, paths, progress))
    return {site: _look(site, [next(measured) for _ in rows[site]], cohort) for site in rows}


def _sample(cohort: Cohort, site: str, at_most: int, seed: int) -> list[int]:
    rows = np.flatnonzero(cohort.site == site)
    rows = rows[np.argsort(cohort.image_id[rows])]
    if len(rows) > at_most:
        rows = np.random.default_rng(seed).choice(rows, at_most, replace=False)
    return [int(row) for row in rows]


def _measure(path: Path) -> NDArray[np.float64]:
    """Give mean and mean square of L*, a* and b*, then the edges' widths."""
    lab = srgb_to_lab(_SQUARE.fit(decode(read_image(path), path)))
    inside = lab[inner_disc(SIDE)].astype(np.float64)
    widths = edge_widths(np.ascontiguousarray(lab[..., 0]), BLURS)
    return np.concatenate([inside.mean(axis=0), np.square(inside).mean(axis=0), widths])


def _look(site: str, measured: list[NDArray[np.float64]], cohort: Cohort) -> Look:
    table = np.stack(measured)
    mean, square = table[:, :3].mean(axis=0), table[:, 3:6].mean(axis=0)
    std = np.sqrt(np.maximum(square - mean**2, 0.0))
    sharp = table[~np.isnan(table[:, 6]), 6:]
    if not len(sharp):
        raise CohortError(
            f"{cohort.root}: site {site}: none of {len(table)} images has an edge in it, so its "
            "blur cannot be measured; check its images"
        )
    m, s = mean.round(_DECIMALS).tolist(), std.round(_DECIMALS).tolist()
    widths = np.median(sharp, axis=0).round(_DECIMALS).tolist()
    return Look(site, len(table), (m[0], m[1], m[2]), (s[0], s[1], s[2]), tuple(widths))
