"""Manifests."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import CohortError
from common.manifest import HAM10000, find_manifest

SMALLEST = """
name = "clinic"
table = "cases.csv"
images = ["pictures"]
classes = ["benign", "malignant"]
"""


def _write(folder: Path, text: str, name: str = "cohort.toml") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_the_smallest_manifest_has_documented_defaults(tmp_path: Path) -> None:
    _write(tmp_path, SMALLEST)
    manifest, root = find_manifest(tmp_path)
    assert root == tmp_path
    assert manifest.columns.image == "image_id"
    assert manifest.columns.diagnosis == "diagnosis"
    assert manifest.columns.lesion is manifest.columns.site is manifest.site is None
    assert manifest.duplicates == "duplicate_pairs.csv"


def test_a_manifest_may_have_any_name_and_is_relative_to_its_folder(tmp_path: Path) -> None:
    assert find_manifest(_write(tmp_path, SMALLEST, "mine.toml"))[1] == tmp_path


def test_a_manifest_goes_before_the_official_layout(tmp_path: Path) -> None:
    (tmp_path / "HAM10000_metadata.csv").touch()
    assert find_manifest(tmp_path)[0] is HAM10000
    _write(tmp_path, SMALLEST)
    assert find_manifest(tmp_path)[0].name == "clinic"


def test_a_folder_without_either_is_refused_with_advice(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"neither cohort\.toml nor HAM10000_metadata\.csv"):
        find_manifest(tmp_path)


@pytest.mark.parametrize("name", ["missing", "x" * 300, "missing/cohort.toml"])
def test_a_path_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(CohortError, match=r"no such|too long") as caught:
        find_manifest(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("name = ", "not a TOML file"),
        ("name = 'a'\nname = 'b'", "not a TOML file"),
        (SMALLEST.replace("classes", "klasses"), "classes: Field required.*klasses: Extra inputs"),
        (SMALLEST + "[columns]\npatient = 'p'", "columns.patient: Extra inputs"),
        (SMALLEST.replace('name = "clinic"', 'name = ""'), "name: "),
        (SMALLEST.replace('["pictures"]', "[]"), "images: "),
        (SMALLEST.replace('["pictures"]', '[""]'), r"images\.0: "),
        (SMALLEST.replace('["benign", "malignant"]', '["benign"]'), "classes: "),
        (SMALLEST.replace('"malignant"', '"benign"'), "classes: a class is listed twice"),
        (SMALLEST.replace('"cases.csv"', "5"), "table: "),
        (SMALLEST + "[diagnoses]\nmel = 'bad'", "diagnoses: bad not among the classes"),
        (SMALLEST + "site = 'here'\n[columns]\nsite = 'where'", "either site or columns.site"),
        ("", "name: Field required.*table: Field required"),
    ],
)
def test_a_wrong_manifest_is_refused_by_key(tmp_path: Path, text: str, match: str) -> None:
    path = _write(tmp_path, text)
    with pytest.raises(CohortError, match=match) as caught:
        find_manifest(tmp_path)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_manifest_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cohort.toml").write_bytes('name = "clinique générale"'.encode("latin-1"))
    with pytest.raises(CohortError, match="not a TOML file"):
        find_manifest(tmp_path)
