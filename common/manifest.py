"""The manifest: how a table and its image folders describe a cohort.

A hospital writes a ``cohort.toml``; HAM10000's official layout is the manifest `HAM10000` below.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from common.errors import CohortError

MANIFEST_FILE = "cohort.toml"
HAM10000_TABLE = "HAM10000_metadata.csv"

Name = Annotated[str, Field(min_length=1)]


class Columns(BaseModel):
    """Which column of the table holds what; None where the table has no such column."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: Name = "image_id"
    diagnosis: Name = "diagnosis"
    lesion: Name | None = None
    site: Name | None = None
    age: Name | None = None
    sex: Name | None = None
    localisation: Name | None = None
    label_source: Name | None = None


class Manifest(BaseModel):
    """A cohort's description.

    Attributes
    ----------
    name : str
        The cohort's name, for reports.
    table : str
        The CSV file, one row an image, relative to the manifest's folder.
    images : tuple of str
        Folders that hold the images; ``*`` may stand in a name.
    masks : tuple of str
        Folders that may hold lesion masks, ``<image id>_segmentation.png``.
    classes : tuple of str
        The classes, in the order of every confusion matrix and probability.
    malignant : tuple of str
        The classes that are malignant or on the way there; empty where that is no question.
    diagnoses : dict of str to str
        Class of each value of the diagnosis column, where they differ; a value that is neither
        here nor a class is an error.
    site : str or None
        The site of all images, where no column tells.
    duplicates : str or None
        CSV of image pairs (``image_a``, ``image_b``) that show one lesion under two ids; may be
        absent. Columns ``lesion_a``, ``lesion_b`` let it name lesions of other hospitals.
    columns : Columns
        The table's columns.
    optional_columns : frozenset of str
        Fields of `columns` that the table may lack.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    table: Name
    images: tuple[Name, ...] = Field(min_length=1)
    masks: tuple[Name, ...] = ()
    classes: tuple[Name, ...] = Field(min_length=2)
    malignant: tuple[Name, ...] = ()
    diagnoses: dict[str, str] = {}
    site: Name | None = None
    duplicates: Name | None = "duplicate_pairs.csv"
    columns: Columns = Columns()
    optional_columns: frozenset[str] = frozenset()

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("classes: a class is listed twice")
        strangers = sorted(set(self.diagnoses.values()) - set(self.classes))
        if strangers:
            raise ValueError(f"diagnoses: {', '.join(strangers)} not among the classes")
        if not set(self.malignant) < set(self.classes):
            raise ValueError("malignant: must be some of the classes, not all")
        if self.site is not None and self.columns.site is not None:
            raise ValueError("site: give either site or columns.site, not both")
        return self


HAM10000 = Manifest(
    name="HAM10000",
    table=HAM10000_TABLE,
    images=("images", "HAM10000_images_part_*"),
    masks=("masks", "HAM10000_segmentations_lesion_*"),
    classes=("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc"),
    # Actinic keratoses and Bowen's disease count: they are treated so as not to become invasive.
    malignant=("akiec", "bcc", "mel"),
    columns=Columns(
        image="image_id",
        diagnosis="dx",
        lesion="lesion_id",
        site="dataset",
        age="age",
        sex="sex",
        localisation="localization",
        label_source="dx_type",
    ),
    optional_columns=frozenset({"site"}),
)


def find_manifest(path: Path) -> tuple[Manifest, Path]:
    """Find the manifest of a cohort's folder or file.

    Parameters
    ----------
    path : Path
        A folder with ``cohort.toml`` or in the official HAM10000 layout, or a manifest file.

    Returns
    -------
    Manifest, Path
        The manifest and the folder that its names are relative to.

    Raises
    ------
    CohortError
        If nothing there describes a cohort, or the manifest is wrong.
    """
    try:
        exists = path.exists()
    except OSError as error:  # a name that is too long, a folder that may not be entered
        raise CohortError(f"{path}: {error.strerror}") from error
    if not exists:
        raise CohortError(f"{path}: no such file or folder")
    if path.is_file():
        return _read_manifest(path), path.parent
    if (path / MANIFEST_FILE).is_file():
        return _read_manifest(path / MANIFEST_FILE), path
    if (path / HAM10000_TABLE).is_file():
        return HAM10000, path
    raise CohortError(
        f"{path}: neither {MANIFEST_FILE} nor {HAM10000_TABLE} is in this folder; "
        "write a manifest (see the README) or name the folder that holds the table"
    )


def _read_manifest(path: Path) -> Manifest:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CohortError(f"{path}: not a TOML file: {error}") from error
    except OSError as error:
        raise CohortError(f"{path}: {error.strerror}") from error
    try:
        return Manifest.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'manifest'}: {item['msg']}"
            for item in error.errors()
        )
        raise CohortError(f"{path}: {problems}") from error
