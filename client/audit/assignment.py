"""The split under audit: our own by lesion, or any other that a CSV file gives."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.cohort import Cohort
from common.errors import CohortError
from common.image_folders import without_ending
from common.split import Split, split_groups

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNNAMED = ""
_PART_OF = {**{part.value: part.value for part in Split}, "val": Split.VALIDATION.value}


@dataclass(frozen=True)
class Assignment:
    """Which part of a split each image is in.

    Attributes
    ----------
    name : str
        Where the split comes from, for messages.
    part : ndarray of str, shape (n,)
        ``"train"``, ``"validation"`` or ``"test"``; empty where the split does not name the image.
    """

    name: str
    part: NDArray[np.str_]

    def member(self, part: Split) -> NDArray[np.bool_]:
        """Tell which images are in one part."""
        found: NDArray[np.bool_] = self.part == part.value
        return found

    def straddles(self, a: int, b: int) -> bool:
        """Tell whether two images are in different parts of the split."""
        parts = {str(self.part[a]), str(self.part[b])} - {UNNAMED}
        return len(parts) > 1


def by_lesion(cohort: Cohort, seed: int) -> Assignment:
    """Give the split that a run with this seed would use."""
    return Assignment(f"split by lesion, seed {seed}", split_groups(seed, cohort.group))


def from_file(cohort: Cohort, path: Path) -> Assignment:
    """Read a split from a CSV file, for example a run's ``predictions.csv``.

    Parameters
    ----------
    cohort : Cohort
        The images.
    path : Path
        A CSV with the columns ``image_id`` and ``split`` (train, validation or val, test). Other
        columns are passed over; an image may have several rows if they agree.

    Raises
    ------
    CohortError
        If the file cannot be read, names an image that the cohort lacks, an unknown part, or two
        parts for one image; the message names the file and the row.
    """
    row_of = {name: row for row, name in enumerate(cohort.image_id.tolist())}
    part = np.full(len(cohort), UNNAMED, dtype="<U10")
    for number, (image, value) in enumerate(_read(path), start=2):
        row = row_of.get(without_ending(image))
        if row is None:
            raise CohortError(
                f"{path}: row {number}: image {image!r} is not in the cohort; "
                "give the split of this cohort"
            )
        wanted = _PART_OF.get(value.lower())
        if wanted is None:
            raise CohortError(
                f"{path}: row {number}: split {value!r} is unknown; known: {', '.join(_PART_OF)}"
            )
        if part[row] not in (UNNAMED, wanted):
            raise CohortError(
                f"{path}: row {number}: image {image} is in {wanted} here and in {part[row]} "
                "above; an image may be in one part only"
            )
        part[row] = wanted
    return Assignment(f"split of {path}", part)


def _read(path: Path) -> list[tuple[str, str]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = [row for row in csv.reader(stream, strict=True) if row]
    except OSError as error:
        raise CohortError(f"{path}: {error.strerror}; name a CSV file") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise CohortError(f"{path}: not a CSV file in UTF-8: {error}") from error
    if len(rows) < 2:
        raise CohortError(f"{path}: no row of data")
    header = [name.strip() for name in rows[0]]
    for column in ("image_id", "split"):
        if header.count(column) != 1:
            raise CohortError(
                f"{path}: column {column} must stand once in the header; found: {', '.join(header)}"
            )
    image, split = header.index("image_id"), header.index("split")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise CohortError(
                f"{path}: row {number} has {len(row)} fields, the header has {len(header)}"
            )
    return [(row[image].strip(), row[split].strip()) for row in rows[1:]]
