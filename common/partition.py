"""Partitions: which simulated site holds which images.

A lesion never straddles two sites of a drawn partition, and no partition touches the split. Both
runtimes use this module, so that a simulated site of Flower's and of ours is the same site.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from common.errors import PartitionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.cohort import Cohort


@dataclass(frozen=True)
class Partition:
    """A cohort shared out over sites.

    Attributes
    ----------
    names : tuple of str
        The sites' names, sorted.
    rows : tuple of ndarray of intp
        Each site's images, as ascending positions in the cohort.
    """

    names: tuple[str, ...]
    rows: tuple[NDArray[np.intp], ...]


def make_partition(spec: str, cohort: Cohort, seed: int) -> Partition:
    """Share a cohort out.

    Parameters
    ----------
    spec : str
        ``site``: as acquired. ``iid:N``: whole lesions dealt at random to N sites.
        ``dirichlet:ALPHA:N``: each class's lesions shared by a draw from a symmetric Dirichlet
        distribution (Yurochkin et al., ICML 2019); a site that draws nothing takes one lesion
        from the largest.
    cohort : Cohort
        What to share.
    seed : int
        Seed of the draw.

    Raises
    ------
    PartitionError
        If the text is not one of these, or the cohort has too few lesions or no sites.
    """
    drawn = parse_partition(spec)
    return _by_site(cohort) if drawn is None else _drawn(cohort, *drawn, seed)


def parse_partition(spec: str) -> tuple[int, float | None] | None:
    """Read a partition's text.

    Returns
    -------
    (int, float or None) or None
        Number of sites and alpha of a drawn partition, None for ``site``.

    Raises
    ------
    PartitionError
        If the text is none that `make_partition` knows, or a number is out of bounds.
    """
    kind, *values = spec.split(":")
    try:
        match kind, values:
            case "site", []:
                return None
            case "iid", [sites]:
                number, alpha = int(sites), None
            case "dirichlet", [concentration, sites]:
                number, alpha = int(sites), float(concentration)
            case _:
                raise PartitionError(f"partition {spec!r}: give site, iid:N or dirichlet:ALPHA:N")
    except ValueError as error:
        raise PartitionError(f"partition {spec!r}: {error}") from error
    if number < 1:
        raise PartitionError(f"partition {spec!r}: the number of sites must be at least 1")
    if alpha is not None and not (math.isfinite(alpha) and alpha > 0):
        raise PartitionError(f"partition {spec!r}: alpha must be positive")
    return number, alpha


def _by_site(cohort: Cohort) -> Partition:
    if not cohort.sites_known:
        raise PartitionError(
            f"{cohort.root}: the sites are unknown (the table has no site column); "
            "use --partition iid:N or dirichlet:ALPHA:N, or give the table that has one"
        )
    rows = tuple(np.flatnonzero(cohort.site == name) for name in cohort.sites)
    return Partition(cohort.sites, rows)


def _drawn(cohort: Cohort, sites: int, alpha: float | None, seed: int) -> Partition:
    # Sorted by group, so that the order of the table's rows does not matter.
    groups, group_of = np.unique(cohort.group, return_inverse=True)
    if sites > len(groups):
        raise PartitionError(
            f"partition: {sites} sites cannot share {len(groups)} lesions; "
            f"give a number from 1 to {len(groups)}, since a site without images is empty"
        )
    rng = np.random.default_rng(seed)
    if alpha is None:
        site_of = rng.permutation(np.arange(len(groups)) % sites)
    else:
        # A group of several classes, which the table should not have, counts as its lowest.
        label = np.full(len(groups), len(cohort.classes), dtype=np.intp)
        np.minimum.at(label, group_of, cohort.y)
        site_of = _dirichlet(label, sites, alpha, rng)
    width = len(str(sites - 1))
    names = tuple(f"site-{index:0{width}d}" for index in range(sites))
    site_of_image = site_of[group_of]
    return Partition(names, tuple(np.flatnonzero(site_of_image == i) for i in range(sites)))


def _dirichlet(
    y: NDArray[np.intp], sites: int, alpha: float, rng: np.random.Generator
) -> NDArray[np.intp]:
    site_of = np.zeros(len(y), dtype=np.intp)
    for label in np.unique(y):
        members = rng.permutation(np.flatnonzero(y == label))
        # Gamma draws in logarithms: at a small alpha the plain draws underflow to zero together.
        # log G(alpha) = log G(alpha + 1) + log(U) / alpha (Marsaglia & Tsang, 2000, section 6).
        logs = np.log(rng.gamma(alpha + 1, size=sites)) + np.log(rng.random(sites)) / alpha
        shares = np.exp(logs - logs.max())
        ends = np.rint(np.cumsum(shares / shares.sum()) * len(members)).astype(np.intp)
        site_of[members] = np.searchsorted(ends, np.arange(len(members)), side="right")
    counts = np.bincount(site_of, minlength=sites)
    for empty in np.flatnonzero(counts == 0):
        largest = int(counts.argmax())
        site_of[np.flatnonzero(site_of == largest)[0]] = empty
        counts[largest] -= 1
        counts[empty] += 1
    return site_of
