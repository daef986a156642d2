"""Partitions: which simulated site holds which images.

A lesion never straddles two sites of a drawn partition, and no partition touches the split. Both
runtimes use this module, so that a simulated site of Flower's and of ours is the same site. The
partitioners of flwr-datasets share lesions out, not images, and are imported only to do so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from common.errors import PartitionError
from common.flower_parts import (
    class_parts,
    dirichlet_parts,
    equal_parts,
    falling_parts,
    natural_parts,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.cohort import Cohort

FORMS = "site, iid:N, dirichlet:ALPHA:N, quantity:N or classes:K:N"

# Below, numpy's draw favours some sites over others (seen at 5e-324); above, it overflows to no
# share at all (seen at 1e306). Within, each class is already whole, or evenly shared.
SMALLEST_ALPHA, LARGEST_ALPHA = 1e-100, 1e100

# Lesions of the largest site of quantity:N over those of the smallest. ExponentialPartitioner has
# e^(N-1): the same with four sites, but the embedded cohort's 599 lesions leave one of seven empty.
QUANTITY_RATIO = 20.0


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


@dataclass(frozen=True)
class PartitionSpec:
    """A partition's text, read.

    Attributes
    ----------
    text : str
        The text as given.
    kind : str
        What precedes the first colon.
    sites : int
        Number of sites; 0 for ``site``, of which the cohort tells.
    alpha : float
        Concentration of ``dirichlet``; 0 for the others.
    classes : int
        Classes at each site of ``classes``; 0 for the others.
    """

    text: str
    kind: Literal["site", "iid", "dirichlet", "quantity", "classes"]
    sites: int = 0
    alpha: float = 0.0
    classes: int = 0


def make_partition(spec: str, cohort: Cohort, seed: int) -> Partition:
    """Share a cohort out.

    All but ``site`` share whole lesions (groups of them where duplicates join them), in an order
    drawn from the seed; the order of the table's rows does not matter. A group of several
    classes counts as the lowest.

    Parameters
    ----------
    spec : str
        ``site``: by image, as acquired. A lesion seen at two acquisition sites is at both.

        ``iid:N``: equally many lesions to each of N sites.

        ``dirichlet:ALPHA:N``: each class's lesions by a draw from a symmetric Dirichlet
        distribution (Yurochkin et al., ICML 2019, section 4). A site that draws nothing takes
        one lesion from the largest.

        ``quantity:N``: the number of lesions falls exponentially from ``site-0`` to the last,
        which holds a twentieth of the first's; the label is as in the cohort.

        ``classes:K:N``: each site holds lesions of K classes only, and the sites that hold a
        class hold equally many of its lesions (the setting #C=K of Li et al., ICDE 2022). The
        classes, in an order drawn from the seed, are dealt round and round, K to a site, so that
        every class is held, and the numbers of sites that hold one differ by at most one.
    cohort : Cohort
        What to share.
    seed : int
        Seed of the draw.

    Raises
    ------
    PartitionError
        If the text is not one of these, the cohort has too few lesions or classes for it or no
        sites, or flwr-datasets is not installed.
    """
    wanted = parse_partition(spec)
    return _by_site(cohort) if wanted.kind == "site" else _drawn(wanted, cohort, seed)


def parse_partition(spec: str) -> PartitionSpec:
    """Read a partition's text; flwr-datasets is not needed for it.

    Raises
    ------
    PartitionError
        If the text is none that `make_partition` knows, or a number is out of bounds.
    """
    kind, *values = spec.split(":")
    try:
        match kind, values:
            case "site", []:
                return PartitionSpec(spec, "site")
            case ("iid" | "quantity") as even, [sites]:
                read = PartitionSpec(spec, even, int(sites))
            case "dirichlet", [alpha, sites]:
                read = PartitionSpec(spec, "dirichlet", int(sites), alpha=float(alpha))
            case "classes", [classes, sites]:
                read = PartitionSpec(spec, "classes", int(sites), classes=int(classes))
            case _:
                raise PartitionError(f"partition {spec!r}: give {FORMS}")
    except ValueError as error:
        raise PartitionError(f"partition {spec!r}: {error}") from error
    if read.sites < 1:
        raise PartitionError(f"partition {spec!r}: the number of sites must be at least 1")
    if kind == "dirichlet" and not SMALLEST_ALPHA <= read.alpha <= LARGEST_ALPHA:
        raise PartitionError(
            f"partition {spec!r}: alpha must be positive, "
            f"from {SMALLEST_ALPHA:g} to {LARGEST_ALPHA:g}"
        )
    if kind == "classes" and read.classes < 1:
        raise PartitionError(f"partition {spec!r}: the classes at a site must be at least 1")
    return read


def _by_site(cohort: Cohort) -> Partition:
    if not cohort.sites_known:
        raise PartitionError(
            f"{cohort.root}: the sites are unknown (the table has no site column); "
            f"use --partition {FORMS.removeprefix('site, ')}, or give the table that has one"
        )
    names, rows = natural_parts(cohort.site)
    return Partition(names, tuple(rows))


def _drawn(spec: PartitionSpec, cohort: Cohort, seed: int) -> Partition:
    # Sorted by group, so that the order of the table's rows does not matter.
    groups, group_of = np.unique(cohort.group, return_inverse=True)
    if spec.sites > len(groups):
        raise PartitionError(
            f"partition {spec.text}: {spec.sites} sites cannot share {len(groups)} lesions; "
            f"give a number from 1 to {len(groups)}, since a site without images is empty"
        )
    label = np.full(len(groups), len(cohort.classes), dtype=np.intp)
    np.minimum.at(label, group_of, cohort.y)
    if spec.kind == "classes":
        _check_classes(spec, cohort.classes, label)

    site_of = np.full(len(groups), -1, dtype=np.intp)
    for site, lesions in enumerate(_deal(spec, label, np.random.default_rng(seed))):
        site_of[lesions] = site
    _fill_empty(site_of, spec.sites)
    width = len(str(spec.sites - 1))
    names = tuple(f"site-{index:0{width}d}" for index in range(spec.sites))
    site_of_image = site_of[group_of]
    return Partition(names, tuple(np.flatnonzero(site_of_image == i) for i in range(spec.sites)))


def _check_classes(spec: PartitionSpec, names: tuple[str, ...], label: NDArray[np.intp]) -> None:
    counts = np.bincount(label, minlength=len(names))
    present = np.flatnonzero(counts)
    held = spec.classes * spec.sites
    if spec.classes > len(present):
        raise PartitionError(
            f"partition {spec.text}: the cohort has {len(present)} classes; give at most as many"
        )
    if held < len(present):
        raise PartitionError(
            f"partition {spec.text}: {spec.classes} times {spec.sites} places cannot hold all "
            f"{len(present)} classes; give more sites, or more classes a site"
        )
    rarest = present[counts[present].argmin()]
    # Whichever class the seed puts first, so that the seed does not decide what is refused.
    if counts[rarest] < -(-held // len(present)):
        raise PartitionError(
            f"partition {spec.text}: class {names[rarest]} has {counts[rarest]} lesions for up to "
            f"{-(-held // len(present))} sites; give fewer sites, or fewer classes a site"
        )


def _deal(
    spec: PartitionSpec, label: NDArray[np.intp], rng: np.random.Generator
) -> list[NDArray[np.intp]]:
    """Give each site's lesions, as positions in `label`."""
    order = rng.permutation(len(label))
    label = label[order]
    match spec.kind:
        case "dirichlet":
            seed = int(rng.integers(2**32))
            parts = dirichlet_parts(label, spec.sites, spec.alpha, seed)
        case "classes":
            number = rng.permutation(int(label.max()) + 1)
            parts = class_parts(number[label], spec.sites, spec.classes)
        case "quantity":
            parts = falling_parts(len(label), spec.sites, QUANTITY_RATIO)
        case _:
            parts = equal_parts(len(label), spec.sites)
    return [order[part] for part in parts]


def _fill_empty(site_of: NDArray[np.intp], sites: int) -> None:
    counts = np.bincount(site_of, minlength=sites)
    for empty in np.flatnonzero(counts == 0):
        largest = int(counts.argmax())
        site_of[np.flatnonzero(site_of == largest)[0]] = empty
        counts[largest] -= 1
        counts[empty] += 1
