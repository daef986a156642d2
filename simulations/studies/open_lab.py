"""From a cohort's folder to the lab: features, changed looks, groups, and what they depend on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from common.backbones import get_backbone
from common.cohort import Cohort
from common.errors import StudyError
from common.feature_cache import FeatureCache
from common.features import Progress, extract
from common.finetuning.settings import read_training
from common.partition import make_partition
from common.versions import package_versions
from simulations.studies.base import Study
from simulations.studies.fit import Fit
from simulations.studies.groups import CLIENT, GROUPINGS, SKIN_TONE
from simulations.studies.lab import Lab
from simulations.studies.options import StudyOptions
from simulations.studies.tasks import Watch

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Display:
    """How a study shows what it does.

    Attributes
    ----------
    images : callable
        Makes a `Progress` for work over images from its name.
    pieces : callable
        Makes a `Watch` for pieces of work from their name.
    note : callable
        Called with a line that the user should read.
    """

    images: Callable[[str], Progress]
    pieces: Callable[[str], Watch]
    note: Callable[[str], None]


def open_lab(
    cohort: Cohort, options: StudyOptions, fits: list[Fit], display: Display
) -> tuple[Lab, list[str]]:
    """Read the features of a cohort, computing those that the cache lacks.

    Returns
    -------
    Lab, list of str
        What the fits work on, and what was left out of it.

    Raises
    ------
    ImageError, CacheError, WeightsError
        As `common.features.extract`.
    """
    backbone = get_backbone(options.backbone)
    features = extract(
        cohort.path,
        backbone,
        FeatureCache(options.cache, backbone),
        skip_unreadable=options.skip_unreadable,
        progress=display.images("features"),
    )
    notes = [f"left out: {problem}" for problem in features.unreadable]
    for note in notes:
        display.note(note)
    readable = cohort.take(np.flatnonzero(features.kept))
    looks = {fit.partition: np.empty(0, dtype=np.float32) for fit in fits if fit.looks}
    for partition in looks:
        looks[partition] = _look_features(readable, partition, options, display)
    others = {
        fit.backbone: np.empty(0, dtype=np.float32)
        for fit in fits
        if fit.backbone not in ("", options.backbone)
    }
    for name in others:
        others[name] = _other_features(readable, name, options, display)
    views = _views(readable, options, fits, display)
    return Lab(readable, options.backbone, features.x, looks, others, views), notes


def _views(
    cohort: Cohort, options: StudyOptions, fits: list[Fit], display: Display
) -> dict[str, NDArray[np.float32]]:
    """Read the features of the augmented views that fits ask for, drawn as training draws them."""
    most: dict[str, int] = {}
    for fit in fits:
        if fit.views:
            name = fit.backbone or options.backbone
            most[name] = max(most.get(name, 0), fit.views)
    if not most:
        return {}
    from client.training.augmentation import strengths_of
    from simulations.view_features import view_features

    strengths = strengths_of(read_training(options.training))
    return {
        name: view_features(
            cohort.path,
            views,
            strengths,
            get_backbone(name),
            options.cache,
            display.images(f"views of {name}"),
        )
        for name, views in most.items()
    }


def _other_features(
    cohort: Cohort, name: str, options: StudyOptions, display: Display
) -> NDArray[np.float32]:
    backbone = get_backbone(name)
    cache, progress = FeatureCache(options.cache, backbone), display.images(f"features of {name}")
    return extract(cohort.path, backbone, cache, progress=progress).x


def _look_features(
    cohort: Cohort, partition: str, options: StudyOptions, display: Display
) -> NDArray[np.float32]:
    """Give each simulated site's images the look of an acquisition site, in turn."""
    from simulations.looks import measure_looks
    from simulations.shifted_features import shifted_features

    looks = measure_looks(cohort, display.images("looks of sites"))
    shared = make_partition(partition, cohort, options.seed)
    targets = np.empty(len(cohort), dtype=cohort.site.dtype)
    for index, rows in enumerate(shared.rows):
        targets[rows] = cohort.sites[index % len(cohort.sites)]
    backbone = get_backbone(options.backbone)
    return shifted_features(
        cohort, targets, looks, backbone, options.cache, display.images("shifted features")
    )


def make_groupings(study: Study, cohort: Cohort, display: Display) -> dict[str, NDArray[np.str_]]:
    """Group every image of the lab's cohort in each way that a study may ask for.

    Raises
    ------
    StudyError
        If the study asks for a grouping that is not known.
    """
    found = {name: group(cohort) for name, group in GROUPINGS.items()}
    if SKIN_TONE in study.by:
        from simulations.skin_tone import skin_tones

        found[SKIN_TONE] = skin_tones(cohort, display.images("skin tones")).group
    unknown = set(study.by) - found.keys() - {CLIENT}
    if unknown:
        raise StudyError(f"study {study.name}: unknown grouping {', '.join(sorted(unknown))}")
    return found


def lab_identities(lab: Lab, fits: Sequence[Fit]) -> dict[Fit, str]:
    """Digest all that each fit's result depends on, besides the fit itself.

    Returns
    -------
    dict of Fit to str
    """
    table = blake2b(digest_size=16)
    cohort = lab.cohort
    columns = (cohort.image_id, cohort.y, cohort.site, cohort.group, cohort.sex)
    for column in (*columns, cohort.localisation, cohort.age):
        table.update("\n".join(map(str, column.tolist())).encode())
    seen: dict[tuple[str, int, int], str] = {}
    found = {}
    for fit in fits:
        name, x = fit.backbone or lab.backbone_name, lab.features(fit)
        about = (name, id(x), fit.views)
        if about not in seen:
            text = json.dumps([cohort.classes, get_backbone(name).fingerprint, package_versions()])
            whole = blake2b(table.digest() + text.encode(), digest_size=16)
            whole.update(x.data)
            whole.update(lab.view_features(fit).data)
            seen[about] = whole.hexdigest()
        found[fit] = seen[about]
    return found
