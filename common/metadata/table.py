"""A table of metadata for images that no cohort holds: what a fused model predicts with."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.cohort import MAX_AGE_YEARS, UNKNOWN
from common.errors import CohortError
from common.image_folders import without_ending
from common.metadata.encoding import metadata_codes

if TYPE_CHECKING:
    from numpy.typing import NDArray

# By variable, the names that its column may have.
_COLUMNS = {
    "image": ("image_id",),
    "age": ("age",),
    "sex": ("sex",),
    "localisation": ("localisation", "localization"),
}


def read_codes(table: Path, image_ids: Sequence[str]) -> NDArray[np.intp]:
    """Read and code the metadata of some images: intp, shape (n, 3).

    Parameters
    ----------
    table : Path
        CSV with the columns image_id, age, sex and localisation (or localization); a cohort's
        own table will do. A value that is empty or ``unknown`` is missing.
    image_ids : sequence of str
        The images, without their files' endings.

    Raises
    ------
    CohortError
        If a column or an image is missing or stands twice, or an age is none.
    """
    header, rows = _read(table)
    place = {name: _find(table, header, known) for name, known in _COLUMNS.items()}
    by_image: dict[str, list[str]] = {}
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise CohortError(
                f"{table}: row {number} has {len(row)} fields, the header has {len(header)}"
            )
        image = without_ending(row[place["image"]].strip())
        if image in by_image:
            raise CohortError(f"{table}: row {number}: image {image} stands twice")
        by_image[image] = row
    missing = [image for image in image_ids if image not in by_image]
    if missing:
        raise CohortError(
            f"{table}: no row for {len(missing)} image(s), first {missing[0]}; an image of which "
            "nothing is known has a row with empty fields"
        )
    found = [by_image[image] for image in image_ids]
    ages = [_age(table, image, by_image[image][place["age"]].strip()) for image in image_ids]
    text = {
        name: np.array([row[place[name]].strip().lower() for row in found], dtype=np.str_)
        for name in ("sex", "localisation")
    }
    return metadata_codes(np.array(ages, dtype=np.float64), text["sex"], text["localisation"])


def _read(table: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            rows = [row for row in csv.reader(stream, strict=True) if row]
    except OSError as error:
        raise CohortError(f"{table}: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise CohortError(f"{table}: not a CSV file in UTF-8: {error}") from error
    if not rows:
        raise CohortError(f"{table}: is empty")
    return [name.strip().lower() for name in rows[0]], rows[1:]


def _find(table: Path, header: list[str], known: tuple[str, ...]) -> int:
    at = [position for position, name in enumerate(header) if name in known]
    if len(at) != 1:
        how = "is missing" if not at else "stands twice"
        raise CohortError(f"{table}: column {' or '.join(known)} {how}; found: {', '.join(header)}")
    return at[0]


def _age(table: Path, image: str, text: str) -> float:
    if text.lower() in ("", "nan", UNKNOWN):
        return math.nan
    try:
        age = float(text)
    except ValueError:
        age = -1.0
    if not 0.0 <= age <= MAX_AGE_YEARS:
        raise CohortError(
            f"{table}: image {image}: {text!r} is no age from 0 to {MAX_AGE_YEARS:.0f}"
        )
    return age
