"""The cohort: a validated table of images."""

from __future__ import annotations

import csv
import math
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.errors import CohortError
from common.image_folders import find_images, find_masks, without_ending
from common.manifest import MANIFEST_FILE, Manifest, find_manifest
from common.split import join_groups

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNKNOWN = "unknown"
MAX_AGE_YEARS = 130.0


@dataclass(frozen=True)
class Cohort:
    """One row an image; every array has length n.

    Attributes
    ----------
    name : str
        The cohort's name.
    root : Path
        The folder it was read from.
    classes : tuple of str
        Class names.
    malignant : tuple of str
        Those that are malignant; empty where the manifest does not tell.
    image_id : ndarray of str
        Unique ids.
    path : tuple of Path
        Image files.
    mask : tuple of (Path or None)
        Lesion masks, where there are any.
    y : ndarray of intp
        Index into `classes`.
    site : ndarray of str
        Acquisition site, ``"unknown"`` throughout where the table does not tell.
    lesion : ndarray of str
        Lesion id; the image id where the table has none.
    group : ndarray of str
        What may not straddle the split: the lesion, or the smallest id of joined lesions.
    age : ndarray of float64
        Years; NaN where missing.
    sex, localisation, label_source : ndarray of str
        ``"unknown"`` where missing; `label_source` is how the diagnosis was made.
    sites_known, lesions_known : bool
        Whether the table tells.
    sites_told_by : str
        The column, or the manifest's setting, that names the sites, and its file; for messages.
    """

    name: str
    root: Path
    classes: tuple[str, ...]
    malignant: tuple[str, ...]
    image_id: NDArray[np.str_]
    path: tuple[Path, ...]
    mask: tuple[Path | None, ...]
    y: NDArray[np.intp]
    site: NDArray[np.str_]
    lesion: NDArray[np.str_]
    group: NDArray[np.str_]
    age: NDArray[np.float64]
    sex: NDArray[np.str_]
    localisation: NDArray[np.str_]
    label_source: NDArray[np.str_]
    sites_known: bool
    lesions_known: bool
    sites_told_by: str = ""

    def __len__(self) -> int:
        """Count the images."""
        return len(self.path)

    def take(self, rows: NDArray[np.intp]) -> Cohort:
        """Give the cohort of some images, in the order asked for."""
        arrays = {
            name: column[rows] for name, column in vars(self).items() if hasattr(column, "dtype")
        }
        paths = tuple(self.path[row] for row in rows)
        return replace(self, path=paths, mask=tuple(self.mask[row] for row in rows), **arrays)

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the sites, sorted."""
        return tuple(sorted(set(self.site.tolist())))


def load_cohort(path: Path, *, need_images: bool = True) -> Cohort:
    """Read and check a cohort.

    Parameters
    ----------
    path : Path
        A folder in the official HAM10000 layout, a folder with ``cohort.toml``, or a manifest.
    need_images : bool
        Whether every row's image file must be there. A coordinator of simulations that cannot
        see the images plans with the table alone; its paths are then empty.

    Raises
    ------
    CohortError
        If the table, the manifest or a folder is not what it must be; the message names the
        file, the row and the column.
    """
    manifest, root = find_manifest(path)
    table = root / manifest.table
    header, rows = _read_table(table)
    reader = _Reader(table, header, rows, manifest)

    image_id = [without_ending(name) for name in reader.required("image")]
    _refuse_duplicates(table, manifest.columns.image, image_id)
    y = reader.classes()
    site = reader.required("site") if reader.has("site") else None
    lesion = reader.required("lesion") if reader.has("lesion") else image_id
    paths: tuple[Path, ...] = ()
    masks: tuple[Path | None, ...] = (None,) * len(rows)
    if need_images:
        paths = find_images(root, manifest.images, reader.required("image"), table)
        masks = find_masks(root, manifest.masks, image_id)
    pairs = _read_pairs(root, manifest, dict(zip(image_id, lesion, strict=True)))
    group_of = join_groups(lesion, pairs)
    return Cohort(
        name=manifest.name,
        root=root,
        classes=manifest.classes,
        malignant=manifest.malignant,
        image_id=np.array(image_id),
        path=paths if need_images else tuple(Path() for _ in rows),
        mask=masks,
        y=np.array(y, dtype=np.intp),
        site=np.array(site if site is not None else [manifest.site or UNKNOWN] * len(rows)),
        lesion=np.array(lesion),
        group=np.array([group_of[name] for name in lesion]),
        age=np.array(reader.ages()),
        sex=np.array(reader.optional("sex")),
        localisation=np.array(reader.optional("localisation")),
        label_source=np.array(reader.optional("label_source")),
        sites_known=site is not None or manifest.site is not None,
        sites_told_by=(
            f"site in {path if path.is_file() else root / MANIFEST_FILE}"
            if site is None
            else f"column {reader.name('site')} of {table}"
        ),
        lesions_known=reader.has("lesion"),
    )


def _read_table(table: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            rows = [row for row in csv.reader(stream, strict=True) if row]
    except FileNotFoundError as error:
        raise CohortError(f"{table}: the cohort's table is missing") from error
    except OSError as error:
        raise CohortError(f"{table}: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise CohortError(f"{table}: not a CSV file in UTF-8: {error}") from error
    if len(rows) < 2:
        raise CohortError(f"{table}: no row of data")
    header = [name.strip() for name in rows[0]]
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise CohortError(
                f"{table}: row {number} has {len(row)} fields, the header has {len(header)}"
            )
    return header, rows[1:]


def _refuse_duplicates(table: Path, column: str, image_id: list[str]) -> None:
    twice = [name for name, count in Counter(image_id).items() if count > 1]
    if twice:
        raise CohortError(
            f"{table}: column {column}: {len(twice)} id(s) stand twice, first {twice[0]}; "
            "an image may have one row only"
        )


class _Reader:
    """Columns of one table, by the manifest's names for them."""

    def __init__(
        self, table: Path, header: list[str], rows: list[list[str]], manifest: Manifest
    ) -> None:
        self.table, self.rows, self.manifest = table, rows, manifest
        self.position: dict[str, int] = {}
        for field, column in manifest.columns.model_dump().items():
            if column is None:
                continue
            if header.count(column) > 1:
                raise CohortError(f"{table}: column {column} ({field}) stands twice in the header")
            if column in header:
                self.position[field] = header.index(column)
            elif field not in manifest.optional_columns:
                raise CohortError(
                    f"{table}: column {column} ({field}) is missing; found: {', '.join(header)}"
                )

    def has(self, field: str) -> bool:
        return field in self.position

    def name(self, field: str) -> str:
        return str(getattr(self.manifest.columns, field))

    def raw(self, field: str) -> list[str]:
        position = self.position[field]
        return [row[position].strip() for row in self.rows]

    def required(self, field: str) -> list[str]:
        values = self.raw(field)
        if "" in values:
            raise CohortError(
                f"{self.table}: column {self.name(field)}: row {values.index('') + 2} is empty"
            )
        return values

    def optional(self, field: str) -> list[str]:
        if not self.has(field):
            return [UNKNOWN] * len(self.rows)
        return [value.lower() or UNKNOWN for value in self.raw(field)]

    def classes(self) -> list[int]:
        index = {name: i for i, name in enumerate(self.manifest.classes)}
        index.update({value: index[name] for value, name in self.manifest.diagnoses.items()})
        values = self.required("diagnosis")
        strangers = sorted(set(values) - index.keys())
        if strangers:
            row = values.index(strangers[0]) + 2
            raise CohortError(
                f"{self.table}: column {self.name('diagnosis')}: unknown class "
                f"{strangers[0]!r} in row {row}; known: {', '.join(sorted(index))}"
            )
        return [index[value] for value in values]

    def ages(self) -> list[float]:
        if not self.has("age"):
            return [math.nan] * len(self.rows)
        ages = []
        for number, value in enumerate(self.raw("age"), start=2):
            try:
                age = math.nan if value.lower() in ("", "nan", UNKNOWN) else float(value)
            except ValueError:
                age = -1.0
            if not (math.isnan(age) or 0.0 <= age <= MAX_AGE_YEARS):
                raise CohortError(
                    f"{self.table}: column {self.name('age')}: row {number} holds {value!r}, "
                    f"which is no age from 0 to {MAX_AGE_YEARS:.0f}"
                )
            ages.append(age)
        return ages


def _read_pairs(root: Path, manifest: Manifest, lesion_of: dict[str, str]) -> list[tuple[str, str]]:
    if manifest.duplicates is None:
        return []
    path = root / manifest.duplicates
    if not path.is_file():
        if "duplicates" in manifest.model_fields_set:
            raise CohortError(f"{path}: the list of duplicates that the manifest names is missing")
        return []
    header, rows = _read_table(path)
    missing = [column for column in ("image_a", "image_b") if column not in header]
    if missing:
        raise CohortError(f"{path}: column {missing[0]} is missing; found: {', '.join(header)}")
    pairs = []
    for values in rows:
        row = dict(zip(header, (value.strip() for value in values), strict=True))
        a = row.get("lesion_a") or lesion_of.get(without_ending(row["image_a"]))
        b = row.get("lesion_b") or lesion_of.get(without_ending(row["image_b"]))
        if a is None and b is None:
            continue
        if a is None or b is None:
            absent = row["image_a"] if a is None else row["image_b"]
            raise CohortError(
                f"{path}: image {absent} is not in this cohort, so its lesion is unknown here and "
                "the split could differ between sites; add the columns lesion_a and lesion_b"
            )
        pairs.append((a, b))
    return pairs
