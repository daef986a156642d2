"""A site: its images' features and labels, opened from the private cohort, never sent."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from client.learning_rows import disclosed, own_key, treated, withheld
from client.metadata_rows import fused
from client.training.pixels import Pixels
from common.backbones import Backbone
from common.cohort import Cohort
from common.disclosure import EXACT, Disclosure
from common.errors import CohortError
from common.evaluation import statistic_names
from common.feature_cache import FeatureCache
from common.features import Progress, extract, no_progress
from common.folds import NO_FOLDS, Dealing
from common.imbalance import UNTREATED, Resampled, Treatment
from common.learners.base import Arrays, SiteData
from common.metadata import UNFUSED, Fusion
from common.metadata.check import refuse_treated
from common.metrics import lesion_weights
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
    classes, malignant : tuple of str
        Class names, and the malignant ones.
    backbone : Backbone
        What the features come from.
    split_seed : int
        Seed of the split.
    rows : ndarray of intp, shape (n,)
        The images, as positions in the cohort.
    x : ndarray of float32, shape (n, dimension)
        Features, metadata among them where the run asks for them.
    y : ndarray of intp, shape (n,)
        Labels.
    group : ndarray of str, shape (n,)
        Lesion, or group of joined lesions.
    split : ndarray of str, shape (n,)
        Part of the split.
    fold : ndarray of intp, shape (n,), or None
        Fold of each image's lesion, where the learner chooses by folds.
    kept : ndarray of bool, shape (n,)
        Images that the disclosure policy lets the site sum over, each within its part.
    disclosure : Disclosure
        The policy.
    resample_key : bytes
        What the resamples of lesions are drawn by; a real site keeps it from the coordinator.
    lesions : int
        Number of lesions of the images kept.
    unreadable : tuple of str
        Images left out, with the reasons.
    pixels : Pixels
        The images, for fine-tuning.
    treated : Resampled or None
        What the site learns from instead of its training images; None for these themselves.
    """

    name: str
    classes: tuple[str, ...]
    malignant: tuple[str, ...]
    backbone: Backbone
    split_seed: int
    rows: NDArray[np.intp]
    x: NDArray[np.float32]
    y: NDArray[np.intp]
    group: NDArray[np.str_]
    split: NDArray[np.str_]
    fold: NDArray[np.intp] | None
    kept: NDArray[np.bool_]
    disclosure: Disclosure
    resample_key: bytes = field(repr=False)
    lesions: int
    unreadable: tuple[str, ...]
    pixels: Pixels = field(repr=False)
    treated: Resampled | None = None

    def member(self, split: Split) -> NDArray[np.bool_]:
        """Tell which images are of one part of the split and may be summed over."""
        member: NDArray[np.bool_] = (self.split == split.value) & self.kept
        return member

    def part(self, split: Split) -> SiteData:
        """Give what the site may sum over for one part of the split."""
        if split is Split.TRAIN and self.treated is not None:
            return replace(self.treated.data, minimum=self.disclosure.minimum)
        member = self.member(split)
        fold = None if self.fold is None else self.fold[member]
        return SiteData(self.x[member], self.y[member], fold, self.disclosure.minimum)

    def resamples(self, draws: int, model: Arrays) -> dict[str, NDArray[np.uint8]]:
        """Draw how often each test image counts, for each statistic of an evaluation.

        A guarded site draws each statistic apart from the others, and anew for another model: the
        covariance of statistics that are drawn together would link their images, and two models
        that differ little would tell the draws themselves. The lab draws all together.

        Parameters
        ----------
        draws : int
            Resamples.
        model : mapping of str to ndarray
            What is evaluated.

        Returns
        -------
        dict of str to ndarray of uint8, shape (1 + draws, test images)
            By name of `common.evaluation.statistic_names`.
        """
        group, names = self.group[self.member(Split.TEST)], statistic_names(len(self.classes))
        if self.disclosure.exact:
            return dict.fromkeys(names, lesion_weights(group, draws, self.resample_key))
        digest = blake2b(self.resample_key, digest_size=16)
        for name in sorted(model):
            digest.update(np.ascontiguousarray(model[name]).tobytes())
        key = digest.digest()
        return {name: lesion_weights(group, draws, key + name.encode()) for name in names}

    def info(self) -> SiteInfo:
        """Give what the site tells when it joins."""
        count = {split: len(self.part(split)) for split in Split}
        return SiteInfo(
            site=self.name,
            images=int(self.kept.sum()),
            lesions=self.lesions,
            train=count[Split.TRAIN],
            validation=count[Split.VALIDATION],
            test=count[Split.TEST],
            classes=self.classes,
            malignant=self.malignant,
            backbone=self.backbone.fingerprint,
            split_seed=self.split_seed,
            withheld=withheld(self.kept, self.split, self.y, self.fold, self.classes),
            added=sum(count.values()) - int(self.kept.sum()),
        )


def open_site(
    name: str,
    cohort: Cohort,
    rows: NDArray[np.intp],
    backbone: Backbone,
    cache: FeatureCache,
    *,
    split_seed: int,
    folds: Dealing = NO_FOLDS,
    disclosure: Disclosure = EXACT,
    resample_key: bytes | None = None,
    treatment: Treatment = UNTREATED,
    fusion: Fusion = UNFUSED,
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
    folds : Dealing
        Folds that the learner chooses by.
    disclosure : Disclosure
        What the site withholds.
    resample_key : bytes or None
        As `Site`; None for one made of the features, which nobody else has.
    treatment : Treatment
        What is done against imbalance among the training images that are kept.
    fusion : Fusion
        How metadata stand beside the image features.

    Raises
    ------
    CohortError
        If the site has no image.
    ImageError, CacheError, WeightsError
        As `common.features.extract`.
    SettingsError
        If the treatment goes with folds or metadata at a guarded site.
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
    return make_site(
        name,
        cohort,
        kept,
        features.x,
        backbone,
        split_seed=split_seed,
        folds=folds,
        disclosure=disclosure,
        resample_key=resample_key,
        treatment=treatment,
        fusion=fusion,
        unreadable=features.unreadable,
    )


def make_site(
    name: str,
    cohort: Cohort,
    rows: NDArray[np.intp],
    x: NDArray[np.float32],
    backbone: Backbone,
    *,
    split_seed: int,
    folds: Dealing = NO_FOLDS,
    disclosure: Disclosure = EXACT,
    resample_key: bytes | None = None,
    treatment: Treatment = UNTREATED,
    fusion: Fusion = UNFUSED,
    unreadable: tuple[str, ...] = (),
    turn: int = 0,
) -> Site:
    """Make a site of features that are at hand.

    Parameters
    ----------
    name, cohort, backbone, split_seed, folds, disclosure, resample_key, treatment, fusion
        As `open_site`.
    rows : ndarray of intp, shape (n,)
        The site's readable images, as positions in the cohort.
    x : ndarray of float32, shape (n, dimension)
        Their image features.
    unreadable : tuple of str
        Images left out, with the reasons.
    turn : int
        Of the split, in the lab.

    Raises
    ------
    SettingsError
        As there.
    """
    y, group = cohort.y[rows], cohort.group[rows]
    split = split_groups(split_seed, group, turn)
    fold = folds.deal(split_seed, group, y, split)
    kept = disclosed(disclosure, y, split, fold)
    key = own_key(x) if resample_key is None else resample_key
    refuse_treated(fusion, treatment, guarded=not disclosure.exact)
    site = Site(
        name=name,
        classes=cohort.classes,
        malignant=cohort.malignant,
        backbone=backbone,
        split_seed=split_seed,
        rows=rows,
        x=fused(x, cohort, rows, fusion, disclosure, kept, split, (y, fold)),
        y=y,
        group=group,
        split=split,
        fold=fold,
        kept=kept,
        disclosure=disclosure,
        resample_key=key,
        lesions=len(set(cohort.lesion[rows][kept].tolist())),
        unreadable=unreadable,
        pixels=Pixels([cohort.path[row] for row in rows], backbone.transform),
    )
    learned = treated(site.part(Split.TRAIN), treatment, site.classes, disclosure, key)
    return replace(site, treated=learned)
