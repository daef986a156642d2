"""What every fit of a study works on: the readable images' table and features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.backbones import get_backbone
from common.metadata import read_fusion
from common.metadata.encoding import codes_of
from common.partition import make_partition
from common.split import Split, position, split_groups

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.backbones import Backbone
    from common.cohort import Cohort
    from simulations.studies.fit import Fit


@dataclass(frozen=True)
class Lab:
    """A cohort with features in memory.

    Attributes
    ----------
    cohort : Cohort
        The readable images only.
    backbone_name : str
        What the features come from, where a fit names no other.
    x : ndarray of float32, shape (n, dimension)
        Features of the images as they are.
    others : mapping of str to ndarray of float32, shape (n, dimension)
        The same of other backbones, by name.
    looks : mapping of str to ndarray of float32, shape (n, dimension)
        Features of the images as `simulations.looks` changes them, by the partition's text.
    views : mapping of str to ndarray of float32, shape (views, n, dimension)
        Features of the images' augmented views, by the backbone's name.
    """

    cohort: Cohort
    backbone_name: str
    x: NDArray[np.float32]
    looks: Mapping[str, NDArray[np.float32]]
    others: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    views: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def without_files(self) -> Lab:
        """Give the lab for workers, who open no image and need not be sent where they lie."""
        n = len(self.cohort)
        return replace(self, cohort=replace(self.cohort, path=(Path(),) * n, mask=(None,) * n))

    def features(self, fit: Fit) -> NDArray[np.float32]:
        """Give the image features that a fit sees."""
        if fit.looks:
            return self.looks[fit.partition]
        own = fit.backbone in ("", self.backbone_name)
        return self.x if own else self.others[fit.backbone]

    def view_features(self, fit: Fit) -> NDArray[np.float32]:
        """Give the features of the views that a fit sees, shape (views, n, dimension)."""
        if not fit.views:
            return np.empty((0, *self.x.shape), dtype=np.float32)
        return self.views[fit.backbone or self.backbone_name][: fit.views]


@dataclass(frozen=True)
class Bench:
    """A fit's own share of a lab.

    Attributes
    ----------
    lab : Lab
        Where it comes from.
    fit : Fit
        What is to be done.
    image_x : ndarray of float32, shape (n, dimension)
        The image features that this fit sees.
    x : ndarray of float32, shape (n, columns)
        The same with the metadata that it sees; these alone where it sees no image.
    split : ndarray of str, shape (n,)
        Part of the split.
    client : ndarray of str, shape (n,)
        Site of the partition.
    usable : ndarray of bool, shape (n,)
        Test images, and those for learning that the fit's limit leaves.
    trains, tests : tuple of str
        Sites to learn from and to test on, by name.
    """

    lab: Lab
    fit: Fit
    image_x: NDArray[np.float32]
    x: NDArray[np.float32]
    split: NDArray[np.str_]
    client: NDArray[np.str_]
    usable: NDArray[np.bool_]
    trains: tuple[str, ...]
    tests: tuple[str, ...]

    @property
    def backbone(self) -> Backbone:
        """What the features come from."""
        return get_backbone(self.fit.backbone or self.lab.backbone_name)

    def rows(self, part: Split, sites: tuple[str, ...]) -> NDArray[np.intp]:
        """List the images of a part of the split at some sites."""
        member = (self.split == part.value) & np.isin(self.client, sites) & self.usable
        return np.flatnonzero(member)

    def site_rows(self, site: str) -> NDArray[np.intp]:
        """List all images of a site that the fit may use."""
        return np.flatnonzero((self.client == site) & self.usable)


def make_bench(lab: Lab, fit: Fit) -> Bench:
    """Share the lab's cohort out as a fit asks for.

    Raises
    ------
    PartitionError
        If the cohort cannot be shared out so.
    """
    partition = make_partition(fit.partition, lab.cohort, fit.seed)
    client = np.empty(len(lab.cohort), dtype=f"<U{max(map(len, partition.names))}")
    for name, rows in zip(partition.names, partition.rows, strict=True):
        client[rows] = name
    split = split_groups(fit.split_seed, lab.cohort.group, fit.turn)
    return Bench(
        lab=lab,
        fit=fit,
        image_x=lab.features(fit),
        x=fused_features(lab, fit),
        split=split,
        client=client,
        usable=_usable(lab, fit, split, client),
        trains=fit.trains or partition.names,
        tests=fit.tests or partition.names,
    )


def fused_features(lab: Lab, fit: Fit) -> NDArray[np.float32]:
    """Give all columns that a fit sees: float32, shape (n, columns).

    Raises
    ------
    SettingsError
        If its metadata cannot be what they are said to be.
    """
    x, fusion, rows = lab.features(fit), read_fusion(fit.metadata), np.arange(len(lab.cohort))
    if not fusion.width:
        return x
    return fusion.join(x, fusion.columns_of(lab.cohort, rows, codes_of(lab.cohort, rows)))


def _usable(
    lab: Lab, fit: Fit, split: NDArray[np.str_], client: NDArray[np.str_]
) -> NDArray[np.bool_]:
    """Take lesions in the order of a hash until each site has its number of training images.

    A larger limit takes the same lesions and more; validation images are limited alike.
    """
    usable = np.ones(len(split), dtype=np.bool_)
    if not fit.images_per_site:
        return usable
    place = {group: position(fit.seed, f"limit:{group}") for group in set(lab.cohort.group)}
    order = np.array([place[group] for group in lab.cohort.group])
    for site in np.unique(client):
        train = np.sort(order[(client == site) & (split == Split.TRAIN.value)])
        if len(train) > fit.images_per_site:
            # The first lesion that would go beyond the limit, and all after it, stay out.
            beyond = (client == site) & (order >= train[fit.images_per_site])
            usable[beyond & (split != Split.TEST.value)] = False
    return usable
