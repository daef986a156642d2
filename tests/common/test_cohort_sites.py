"""One site's rows of a cohort, and what who names another is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from common.cohort import load_cohort
from common.cohort_sites import rows_of_site
from common.errors import CohortError

MANIFEST = """
name = "clinic"
table = "HAM10000_metadata.csv"
images = ["images"]
classes = ["mel", "nv"]
site = "clinic"

[columns]
diagnosis = "dx"
"""


@pytest.fixture
def root(write_cohort: Callable[..., Path]) -> Path:
    sites = ("dias", "molemax", "dias")
    return write_cohort([{"dataset": site, "dx": "nv"} for site in sites])


def test_a_site_has_the_rows_that_the_column_gives_it(root: Path) -> None:
    cohort = load_cohort(root)
    assert rows_of_site(cohort, "dias").tolist() == [0, 2]
    assert rows_of_site(cohort, "molemax").tolist() == [1]


def test_who_names_none_of_the_sites_is_told_which_there_are_and_by_which_column(
    root: Path,
) -> None:
    with pytest.raises(CohortError) as caught:
        rows_of_site(load_cohort(root), "vidir")
    table = root / "HAM10000_metadata.csv"
    assert str(caught.value) == (
        f"site vidir: not in {root}; sites there: dias, molemax, by column dataset of {table}"
    )


@pytest.mark.parametrize("name", ["cohort.toml", "ours.toml"])
def test_a_name_by_the_manifest_is_told_with_the_manifest(root: Path, name: str) -> None:
    (root / name).write_text(MANIFEST, encoding="utf-8")
    cohort = load_cohort(root if name == "cohort.toml" else root / name)
    assert rows_of_site(cohort, "clinic").tolist() == [0, 1, 2]
    with pytest.raises(CohortError) as caught:
        rows_of_site(cohort, "dias")
    told = f"site dias: not in {root}; sites there: clinic, by site in {root / name}"
    assert str(caught.value) == told


def test_where_no_sites_are_told_apart_every_row_is_the_sites(
    write_cohort: Callable[..., Path],
) -> None:
    columns = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")
    cohort = load_cohort(write_cohort([{}, {}], columns=columns))
    assert rows_of_site(cohort, "whoever").tolist() == [0, 1]
