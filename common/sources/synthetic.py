"""The embedded cohort: drawn pictures in the official HAM10000 layout, with its tables' habits.

It stands in for HAM10000 where that cannot be fetched: the same columns, classes, sites and
proportions, lesions with several pictures, and a few lesions that went to two sites.
"""

from __future__ import annotations

import csv
import os
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.errors import SourceError
from common.features import Progress, no_progress
from common.sources.camera import CAMERAS, photograph
from common.sources.morphology import draw_lesion

if TYPE_CHECKING:
    from numpy.random import Generator

LEAST_IMAGES = 100
CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
# Images of HAM10000 by site, in the order of `CLASSES`.
REAL_COUNTS = {
    "rosendahl": (295, 296, 490, 30, 342, 803, 3),
    "vidir_modern": (32, 211, 475, 51, 680, 1832, 82),
    "vidir_molemax": (0, 2, 124, 30, 24, 3720, 54),
    "vienna_dias": (0, 5, 10, 4, 67, 350, 3),
}
# Lesions of HAM10000 with 1, 2, ... images.
_LESIONS_BY_SIZE = np.array([5514, 1423, 490, 34, 5, 4], dtype=np.float64)
_COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "dataset")
_MEAN_AGE = dict(zip(CLASSES, (66, 66, 64, 53, 61, 47, 51), strict=True))
_MALE = dict(zip(CLASSES, (0.66, 0.61, 0.57, 0.46, 0.61, 0.53, 0.49), strict=True))
_MISSING = 0.01
_PLACES = {
    "back": 0.22, "lower extremity": 0.20, "trunk": 0.14, "upper extremity": 0.11,
    "abdomen": 0.10, "face": 0.07, "chest": 0.04, "foot": 0.03, "unknown": 0.025, "neck": 0.02,
    "scalp": 0.015, "hand": 0.01, "ear": 0.008, "genital": 0.006, "acral": 0.006,
}  # fmt: skip
# How many times as often as above a class is found at a place.
_HAUNTS: dict[str, dict[str, float]] = {
    "akiec": {"face": 5.0, "hand": 4.0, "scalp": 3.0, "trunk": 0.3},
    "bcc": {"face": 2.5, "ear": 3.0, "neck": 2.0},
    "bkl": {"face": 4.0, "scalp": 2.0},
    "df": {"lower extremity": 2.8, "upper extremity": 1.5, "face": 0.2},
    "mel": {"back": 1.4, "upper extremity": 1.5, "face": 1.3},
    "nv": {"trunk": 1.4, "abdomen": 1.3, "face": 0.3, "scalp": 0.5},
    "vasc": {"trunk": 1.3, "abdomen": 1.3},
}


@dataclass(frozen=True)
class _Case:
    """One lesion of the table; cases with equal `drawing` are one lesion under two ids."""

    lesion_id: str
    drawing: int
    dx: str
    dx_type: str
    age: str
    sex: str
    localization: str


@dataclass(frozen=True)
class _Picture:
    case: _Case
    site: str


def write_synthetic(
    folder: Path,
    *,
    images: int = 800,
    seed: int = 0,
    progress: Progress = no_progress,
) -> None:
    """Write the drawn cohort; the folder appears whole or not at all.

    Parameters
    ----------
    folder : Path
        Must be absent or empty. Gets ``HAM10000_metadata.csv``, ``images/<image_id>.jpg``,
        ``masks/<image_id>_segmentation.png`` and ``duplicate_pairs.csv``.
    images : int
        How many, at least `LEAST_IMAGES`.
    seed : int
        Not negative; the same seed and count give the same bytes.
    progress : callable
        Called with (images done, images in all) after each image.

    Raises
    ------
    SourceError
        If `folder` holds something, `images` is too small, `seed` is negative, or the disk does
        not take it.
    """
    if images < LEAST_IMAGES:
        raise SourceError(
            f"images = {images}: too few to keep every site and class; ask for at least "
            f"{LEAST_IMAGES}"
        )
    if seed < 0:
        raise SourceError(f"seed = {seed}: must not be negative; choose 0 or more")
    try:
        _refuse_occupied(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            dir=folder.parent, prefix=f".{folder.name}-", suffix=".partial"
        ) as scratch:
            # One level down, since the scratch folder itself is closed to other users.
            built = Path(scratch) / "cohort"
            _write(built, images, seed, progress)
            if folder.is_dir():
                folder.rmdir()
            os.replace(built, folder)  # noqa: PTH105
    except OSError as error:
        raise SourceError(
            f"{folder}: cannot write the cohort: {error.strerror or error}; free some space or "
            "choose another folder; nothing was left behind"
        ) from error


def site_class_counts(images: int) -> dict[tuple[str, str], int]:
    """Scale the real site x class table to a number of images, by largest remainder.

    Parameters
    ----------
    images : int
        The total, at least `LEAST_IMAGES`.

    Returns
    -------
    dict of (str, str) to int
        Images of each (site, class) that is not empty in HAM10000; at least 1 each.
    """
    real = {
        (site, dx): count
        for site, counts in REAL_COUNTS.items()
        for dx, count in zip(CLASSES, counts, strict=True)
        if count
    }
    # Cells whose share is below one image get one, and leave the rest to the others.
    counts: dict[tuple[str, str], int] = {}
    while True:
        left = {cell: count for cell, count in real.items() if cell not in counts}
        scale = (images - len(counts)) / sum(left.values())
        small = [cell for cell, count in left.items() if count * scale < 1.0]
        if not small:
            break
        counts.update(dict.fromkeys(small, 1))
    spare = images - len(counts) - sum(int(count * scale) for count in left.values())
    by_remainder = sorted(left, key=lambda cell: (-(left[cell] * scale % 1.0), cell))
    for rank, cell in enumerate(by_remainder):
        counts[cell] = int(left[cell] * scale) + (rank < spare)
    return {cell: counts[cell] for cell in real}


def _refuse_occupied(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists() or folder.is_symlink():
        raise SourceError(f"{folder}: exists and is not empty; choose another folder or remove it")


def _write(folder: Path, images: int, seed: int, progress: Progress) -> None:
    pictures, twins = _plan(images, np.random.default_rng([seed, 0]))
    image_ids = [f"SYN_{number:07d}" for number in range(1, images + 1)]
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    rows = [_row(image_id, picture) for image_id, picture in zip(image_ids, pictures, strict=True)]
    _write_table(folder / "HAM10000_metadata.csv", _COLUMNS, rows)
    shown = {p.case.lesion_id: name for name, p in zip(image_ids, pictures, strict=True)}
    pairs = [(shown[a], shown[b], "same lesion") for a, b in twins]
    _write_table(folder / "duplicate_pairs.csv", ("image_a", "image_b", "kind"), pairs)

    by_drawing: dict[int, list[int]] = {}
    for index, picture in enumerate(pictures):
        by_drawing.setdefault(picture.case.drawing, []).append(index)
    done = 0
    for drawing, indices in by_drawing.items():
        dx = pictures[indices[0]].case.dx
        lesion = draw_lesion(dx, np.random.default_rng([seed, 1, drawing]))
        for index in indices:
            camera = CAMERAS[pictures[index].site]
            rng = np.random.default_rng([seed, 2, index])
            image, mask = photograph(lesion, camera, rng)
            name = image_ids[index]
            image.save(folder / "images" / f"{name}.jpg", quality=camera.quality)
            mask.save(folder / "masks" / f"{name}_segmentation.png", compress_level=1)
            done += 1
            progress(done, images)


def _row(image_id: str, picture: _Picture) -> tuple[str, ...]:
    """Give the picture's values of `_COLUMNS`."""
    case = picture.case
    person = (case.age, case.sex, case.localization)
    return (case.lesion_id, image_id, case.dx, case.dx_type, *person, picture.site)


def _write_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def _plan(images: int, rng: Generator) -> tuple[list[_Picture], list[tuple[str, str]]]:
    """Decide every row, and which lesions stand under two ids."""
    pictures: list[_Picture] = []
    sizes = _LESIONS_BY_SIZE / _LESIONS_BY_SIZE.sum()
    number = 0
    for (site, dx), count in site_class_counts(images).items():
        left = count
        while left:
            number += 1
            size = min(left, 1 + int(rng.choice(len(sizes), p=sizes)))
            pictures += [_Picture(_case(number, dx, site, rng), site)] * size
            left -= size
    _send_to_second_site(pictures, max(2, images // 200), rng)
    twins = _give_second_ids(pictures, max(1, min(2, images // 400)), rng)
    # Neither the order of the rows nor a lesion's number may tell the class or the site.
    pictures = [pictures[index] for index in rng.permutation(len(pictures)).tolist()]
    met = dict.fromkeys(p.case.lesion_id for p in pictures)
    name = {old: f"SYNL_{number:07d}" for number, old in enumerate(met, start=1)}
    renamed = [replace(p, case=replace(p.case, lesion_id=name[p.case.lesion_id])) for p in pictures]
    return renamed, [(name[a], name[b]) for a, b in twins]


def _case(number: int, dx: str, site: str, rng: Generator) -> _Case:
    weights = np.array([_PLACES[p] * _HAUNTS[dx].get(p, 1.0) for p in _PLACES])
    place = list(_PLACES)[int(rng.choice(len(weights), p=weights / weights.sum()))]
    age = 5 * round(float(np.clip(rng.normal(_MEAN_AGE[dx], 15.0), 5.0, 85.0)) / 5)
    sex = "male" if rng.random() < _MALE[dx] else "female"
    return _Case(
        lesion_id=f"SYNL_{number:07d}",
        drawing=number,
        dx=dx,
        dx_type=_dx_type(dx, site, rng),
        age="" if rng.random() < _MISSING else str(age),
        sex="unknown" if rng.random() < _MISSING else sex,
        localization=place,
    )


def _dx_type(dx: str, site: str, rng: Generator) -> str:
    """Tell how the diagnosis was made: excised lesions by histology, others as the site does."""
    u = rng.random()
    if site == "vidir_molemax":
        if dx == "nv":
            return "follow_up" if u < 0.95 else "histo"
        return "consensus" if dx != "mel" and u < 0.6 else "histo"
    if site == "vidir_modern" and dx not in ("mel", "akiec", "bcc"):
        return "histo" if u < 0.65 else "consensus" if u < 0.95 else "confocal"
    return "histo"


def _singles(pictures: list[_Picture], site: str, rng: Generator) -> list[int]:
    """List, shuffled, the pictures of a site that are the only one of their lesion."""
    count = Counter(p.case.lesion_id for p in pictures)
    alone = [i for i, p in enumerate(pictures) if p.site == site and count[p.case.lesion_id] == 1]
    return [alone[k] for k in rng.permutation(len(alone)).tolist()]


def _send_to_second_site(pictures: list[_Picture], count: int, rng: Generator) -> None:
    """Let lesions of the modern clinic replace ones of their class at its older system."""
    modern = _singles(pictures, "vidir_modern", rng)
    for old in _singles(pictures, "vidir_molemax", rng)[:count]:
        dx = pictures[old].case.dx
        match = next((i for i in modern if pictures[i].case.dx == dx), None)
        if match is not None:
            modern.remove(match)
            pictures[old] = replace(pictures[old], case=pictures[match].case)


def _give_second_ids(pictures: list[_Picture], count: int, rng: Generator) -> list[tuple[str, str]]:
    """Let some lesions be drawn as another of their site and class: one lesion, two ids."""
    naevi = [i for i in _singles(pictures, "vidir_molemax", rng) if pictures[i].case.dx == "nv"]
    twins = []
    for a, b in zip(naevi[0 : 2 * count : 2], naevi[1 : 2 * count : 2], strict=True):
        case = pictures[a].case
        second = replace(case, lesion_id=pictures[b].case.lesion_id)
        pictures[b] = replace(pictures[b], case=second)
        twins.append((case.lesion_id, second.lesion_id))
    return twins
