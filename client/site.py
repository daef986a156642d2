"""A site: its images' features and labels, opened from the private cohort, never sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from common.backbones import Backbone
from common.cohort import Cohort
from common.errors import CohortError
from common.feature_cache import FeatureCache
from common.features import Progress, extract, no_progress
from common.learners.base import SiteData
from common.site_info import SiteInfo
from common.split import Split, split_groups

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Site:
    """What a site holds in memory.

    Attributes
    ----------
    name : str
        The site's name.
    classes : tuple of str
        Class names.
    backbone : Backbone
        What the features come from.
    split_seed : int
        Seed of the split.
    rows : ndarray of intp, shape (n,)
        The images, as positions in the cohort.
    x : ndarray of float32, shape (n, dimension)
        Features.
    y : ndarray of intp, shape (n,)
        Labels.
    split : ndarray of str, shape (n,)
        Part of the split.
    lesions : int
        Number of lesions.
    unreadable : tuple of str
        Images left out, with the reasons.
    """

    name: str
    classes: tuple[str, ...]
    backbone: Backbone
    split_seed: int
    rows: NDArray[np.intp]
    x: NDArray[np.float32]
    y: NDArray[np.intp]
    split: NDArray[np.str_]
    lesions: int
    unreadable: tuple[str, ...]

    def part(self, split: Split) -> SiteData:
        """Give the images of one part of the split."""
        member = self.split == split.value
        return SiteData(self.x[member], self.y[member])

    def info(self) -> SiteInfo:
        """Give what the site tells when it joins."""
        count = {split: int((self.split == split.value).sum()) for split in Split}
        return SiteInfo(
            site=self.name,
            images=len(self.y),
            lesions=self.lesions,
            train=count[Split.TRAIN],
            validation=count[Split.VALIDATION],
            test=count[Split.TEST],
            classes=self.classes,
            backbone=self.backbone.fingerprint,
            split_seed=self.split_seed,
        )


def open_site(
    name: str,
    cohort: Cohort,
    rows: NDArray[np.intp],
    backbone: Backbone,
    cache: FeatureCache,
    *,
    split_seed: int,
    skip_unreadable: bool = False,
    threads: int | None = None,
    progress: Progress = no_progress,
) -> Site:
    """Open a site: read its features, computing those that the cache lacks.

    Parameters
    ----------
    name : str
        The site's name.
    cohort : Cohort
        The table that holds it.
    rows : ndarray of intp
        Its images, as positions in the cohort.
    backbone, cache, skip_unreadable, threads, progress
        As `common.features.extract`.
    split_seed : int
        Seed of the split.

    Raises
    ------
    CohortError
        If the site has no image.
    ImageError, CacheError, WeightsError
        As `common.features.extract`.
    """
    if not len(rows):
        raise CohortError(f"site {name}: has no image in {cohort.root}")
    features = extract(
        [cohort.path[row] for row in rows],
        backbone,
        cache,
        skip_unreadable=skip_unreadable,
        threads=threads,
        progress=progress,
    )
    kept = rows[features.kept]
    if not len(kept):
        raise CohortError(f"site {name}: none of its {len(rows)} images can be read")
    return Site(
        name=name,
        classes=cohort.classes,
        backbone=backbone,
        split_seed=split_seed,
        rows=kept,
        x=features.x,
        y=cohort.y[kept],
        split=split_groups(split_seed, cohort.group[kept]),
        lesions=len(set(cohort.lesion[kept].tolist())),
        unreadable=features.unreadable,
    )
