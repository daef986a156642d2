"""Reading a cohort: what is there arrives, and what is wrong is named."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.cohort import Cohort, load_cohort
from common.errors import CohortError

WriteTable = Callable[..., Path]
WriteCohort = Callable[..., Path]
WriteImage = Callable[..., Path]
Rows = list[Mapping[str, str]]

TABLE = "HAM10000_metadata.csv"
WITHOUT_SITE = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization")

BINARY = """
name = "clinic"
table = "cases.csv"
images = ["pictures"]
masks = ["outlines"]
classes = ["benign", "malignant"]
site = "clinic"

[columns]
image = "file"
diagnosis = "finding"
lesion = "mole"
age = "years"
sex = "gender"

[diagnoses]
naevus = "benign"
melanoma = "malignant"
"""


def test_the_official_layout_is_read(write_cohort: WriteCohort) -> None:
    folder = write_cohort(
        [
            {"image_id": "B", "lesion_id": "L1", "dx": "mel", "age": "80.0", "sex": "Female"},
            {"image_id": "A", "lesion_id": "L1", "dx": "akiec", "dataset": "vienna_dias"},
        ]
    )
    cohort = load_cohort(folder)
    assert (cohort.name, cohort.root, len(cohort)) == ("HAM10000", folder, 2)
    assert cohort.classes == ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
    assert cohort.image_id.tolist() == ["B", "A"]
    assert cohort.path == (folder / "images" / "B.jpg", folder / "images" / "A.jpg")
    assert cohort.mask == (None, None)
    assert cohort.y.tolist() == [4, 0]
    assert cohort.site.tolist() == ["rosendahl", "vienna_dias"]
    assert cohort.sites == ("rosendahl", "vienna_dias")
    assert cohort.lesion.tolist() == cohort.group.tolist() == ["L1", "L1"]
    assert cohort.age.tolist() == [80.0, 50.0]
    assert cohort.sex.tolist() == ["female", "male"]
    assert cohort.localisation.tolist() == ["back", "back"]
    assert cohort.label_source.tolist() == ["histo", "histo"]
    assert cohort.sites_known
    assert cohort.lesions_known


def test_without_a_dataset_column_the_sites_are_unknown(write_cohort: WriteCohort) -> None:
    cohort = load_cohort(write_cohort([{}, {}], columns=WITHOUT_SITE))
    assert not cohort.sites_known
    assert cohort.sites == ("unknown",)


def test_images_may_lie_in_several_folders(
    write_cohort: WriteCohort, write_image: WriteImage
) -> None:
    folder = write_cohort([{"image_id": "A"}, {"image_id": "B"}])
    for part, name in enumerate(("A.jpg", "B.jpg"), start=1):
        parts = folder / f"HAM10000_images_part_{part}"
        parts.mkdir()
        (folder / "images" / name).rename(parts / name)
    (folder / "images").rmdir()
    assert [path.parent.name[-6:] for path in load_cohort(folder).path] == ["part_1", "part_2"]


def test_masks_are_found_where_there_are_any(write_cohort: WriteCohort) -> None:
    folder = write_cohort([{"image_id": "A"}, {"image_id": "B"}])
    mask = folder / "masks" / "B_segmentation.png"
    mask.parent.mkdir()
    Image.new("L", (4, 4)).save(mask)
    assert load_cohort(folder).mask == (None, mask)


@pytest.mark.parametrize("text", ["", "  ", "nan", "NaN", "unknown", "Unknown"])
def test_a_missing_age_is_nan(write_cohort: WriteCohort, text: str) -> None:
    assert math.isnan(load_cohort(write_cohort([{"age": text}])).age[0])


@pytest.mark.parametrize("column", ["sex", "localization", "dx_type"])
def test_a_missing_description_is_unknown(write_cohort: WriteCohort, column: str) -> None:
    cohort = load_cohort(write_cohort([{column: ""}, {}]))
    field = {"localization": "localisation", "dx_type": "label_source"}.get(column, column)
    values = getattr(cohort, field)
    assert values[0] == "unknown"
    assert values[1] != "unknown"


@pytest.mark.parametrize("text", ["0", "0.0", "130", "55.5", " 55.5 "])
def test_an_age_within_bounds_is_read(write_cohort: WriteCohort, text: str) -> None:
    assert load_cohort(write_cohort([{"age": text}])).age[0] == float(text)


def test_without_images_a_coordinator_reads_the_table_alone(
    tmp_path: Path, write_table: WriteTable
) -> None:
    write_table(tmp_path / TABLE, [{"image_id": "A"}])
    cohort = load_cohort(tmp_path, need_images=False)
    assert cohort.path == (Path(),)
    assert cohort.mask == (None,)
    with pytest.raises(CohortError, match="none of the image folders"):
        load_cohort(tmp_path)


@pytest.fixture
def clinic(tmp_path: Path, write_table: WriteTable, write_image: WriteImage) -> Path:
    """A binary task under a manifest, with file names in the table."""
    root = tmp_path / "clinic"
    write_table(
        root / "cases.csv",
        [
            {"file": "a.b.PNG", "finding": "naevus", "mole": "M1", "years": "30"},
            {"file": "c.jpg", "finding": "malignant", "mole": "M2", "gender": "F"},
            {"file": "deep/d.tif", "finding": "melanoma", "mole": "M3"},
        ],
        ("file", "finding", "mole", "years", "gender", "comment"),
    )
    for seed, name in enumerate(("a.b.PNG", "c.jpg", "deep/d.tif")):
        write_image(root / "pictures" / name, seed)
    write_image(root / "outlines" / "c_segmentation.png", 9)
    (root / "cohort.toml").write_text(BINARY, encoding="utf-8")
    return root


@pytest.mark.parametrize("name", ["", "cohort.toml"])
def test_a_binary_task_under_a_manifest_is_read(clinic: Path, name: str) -> None:
    cohort = load_cohort(clinic / name)
    pictures = clinic / "pictures"
    assert cohort.name == "clinic"
    assert cohort.classes == ("benign", "malignant")
    assert cohort.y.tolist() == [0, 1, 1]
    assert cohort.image_id.tolist() == ["a.b", "c", "deep/d"]
    assert cohort.path == (pictures / "a.b.PNG", pictures / "c.jpg", pictures / "deep/d.tif")
    assert cohort.mask == (None, clinic / "outlines" / "c_segmentation.png", None)
    assert cohort.sites == ("clinic",)
    assert cohort.sites_known
    assert cohort.age.tolist()[0] == 30.0
    assert math.isnan(cohort.age[1])
    assert cohort.sex.tolist() == ["unknown", "f", "unknown"]
    assert cohort.localisation.tolist() == ["unknown"] * 3


def test_without_a_lesion_column_each_image_is_a_lesion(clinic: Path) -> None:
    text = BINARY.replace('lesion = "mole"\n', "")
    (clinic / "cohort.toml").write_text(text, encoding="utf-8")
    cohort = load_cohort(clinic)
    assert not cohort.lesions_known
    assert cohort.lesion.tolist() == cohort.group.tolist() == ["a.b", "c", "deep/d"]


def test_a_table_with_a_byte_order_mark_and_blank_lines_is_read(
    write_cohort: WriteCohort,
) -> None:
    folder = write_cohort([{}, {}])
    text = (folder / TABLE).read_text(encoding="utf-8")
    (folder / TABLE).write_text("\ufeff" + text.replace("\n", "\n\n"), encoding="utf-8")
    assert len(load_cohort(folder)) == 2


# Every bad input: rows, and what the message must hold besides the file's name.
BAD_ROWS: dict[str, tuple[Rows, str]] = {
    "an unknown class": ([{}, {"dx": "scc"}], r"column dx: unknown class 'scc' in row 3; known: "),
    "a class in capitals": ([{"dx": "NV"}], r"column dx: unknown class 'NV' in row 2"),
    "no class": ([{}, {}, {"dx": ""}], r"column dx: row 4 is empty"),
    "an id twice": (
        [{"image_id": "A"}, {"image_id": "A"}],
        r"column image_id: 1 id\(s\) stand twice, first A;",
    ),
    "no id": ([{"image_id": "A"}, {"image_id": " "}], r"column image_id: row 3 is empty"),
    "no lesion": ([{"lesion_id": ""}], r"column lesion_id: row 2 is empty"),
    "no site": ([{}, {"dataset": ""}], r"column dataset: row 3 is empty"),
    "a negative age": ([{"age": "-1"}], r"column age: row 2 holds '-1', which is no age"),
    "an age of 131": ([{}, {"age": "131"}], r"column age: row 3 holds '131'"),
    "an infinite age": ([{"age": "inf"}], r"column age: row 2 holds 'inf'"),
    "an age in words": ([{"age": "old"}], r"column age: row 2 holds 'old'"),
    "no row": ([], r"no row of data"),
}


@pytest.mark.parametrize("case", BAD_ROWS)
def test_a_bad_row_is_named(case: str, write_cohort: WriteCohort) -> None:
    rows, match = BAD_ROWS[case]
    folder = write_cohort(rows)
    with pytest.raises(CohortError, match=match) as caught:
        load_cohort(folder)
    assert str(caught.value).startswith(f"{folder / TABLE}: ")


@pytest.mark.parametrize("column", [*WITHOUT_SITE, "file", "finding"])
def test_a_missing_column_is_named_with_those_found(
    column: str, write_cohort: WriteCohort, clinic: Path
) -> None:
    if column in WITHOUT_SITE:
        folder = write_cohort([{}], [name for name in WITHOUT_SITE if name != column])
        table = folder / TABLE
    else:
        folder, table = clinic, clinic / "cases.csv"
        table.write_text(table.read_text().replace(column, "other"))
    with pytest.raises(CohortError, match=rf"column {column} \(\w+\) is missing; found: ") as error:
        load_cohort(folder)
    assert str(error.value).startswith(f"{table}: ")


def test_a_column_that_stands_twice_is_refused(write_cohort: WriteCohort) -> None:
    folder = write_cohort([{}], [*WITHOUT_SITE, "dx"])
    with pytest.raises(CohortError, match=r"column dx \(diagnosis\) stands twice"):
        load_cohort(folder)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "no row of data"),
        (b"lesion_id,image_id\n", "no row of data"),
        (b"lesion_id,image_id\nL,A\nL,B,C\n", "row 3 has 3 fields, the header has 2"),
        (b"lesion_id,image_id\nL\n", "row 2 has 1 fields, the header has 2"),
        (b"lesion_id,image_id\nL\xe9sion,A\n", "not a CSV file in UTF-8"),
        (b'lesion_id,image_id\n"L,A\n', "not a CSV file in UTF-8"),
        (b"lesion_id,image_id\n" + b"x" * 200_000 + b",A\n", "not a CSV file in UTF-8"),
        ("lesion_id,image_id\nL,A\n".encode("utf-16"), "not a CSV file in UTF-8"),
    ],
)
def test_a_damaged_table_is_refused(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / TABLE).write_bytes(content)
    with pytest.raises(CohortError, match=match) as caught:
        load_cohort(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / TABLE}: ")


def test_a_table_that_the_manifest_names_and_is_missing_is_named(clinic: Path) -> None:
    (clinic / "cases.csv").unlink()
    with pytest.raises(CohortError, match=r"cases\.csv: the cohort's table is missing"):
        load_cohort(clinic)
    (clinic / "cases.csv").mkdir()
    with pytest.raises(CohortError, match=r"cases\.csv: Is a directory"):
        load_cohort(clinic)


def test_images_without_a_file_are_counted_and_the_first_named(write_cohort: WriteCohort) -> None:
    folder = write_cohort([{"image_id": name} for name in "ABC"])
    for name in "BC":
        (folder / "images" / f"{name}.jpg").unlink()
    with pytest.raises(CohortError, match=r"2 image\(s\) of the table have no file in .*first B"):
        load_cohort(folder)


def test_an_image_in_two_folders_is_refused(
    write_cohort: WriteCohort, write_image: WriteImage
) -> None:
    folder = write_cohort([{"image_id": "A"}])
    other = write_image(folder / "HAM10000_images_part_1" / "A.png", 0)
    with pytest.raises(CohortError, match="image A is there twice") as caught:
        load_cohort(folder)
    assert str(other) in str(caught.value)
    assert str(folder / "images" / "A.jpg") in str(caught.value)


def _pairs(folder: Path, text: str) -> None:
    (folder / "duplicate_pairs.csv").write_text(text, encoding="utf-8")


def test_duplicates_join_their_lesions(write_cohort: WriteCohort) -> None:
    folder = write_cohort([{"image_id": name, "lesion_id": f"L{name}"} for name in "DCBAX"])
    _pairs(folder, "image_a,image_b,kind\nD,C,duplicate\n B , A ,duplicate\nC,B,duplicate\n")
    cohort = load_cohort(folder)
    assert cohort.lesion.tolist() == ["LD", "LC", "LB", "LA", "LX"]
    assert cohort.group.tolist() == ["LA", "LA", "LA", "LA", "LX"]


def test_duplicates_may_name_files_with_their_ending(clinic: Path) -> None:
    _pairs(clinic, "image_a,image_b\nc.jpg,a.b.PNG\ndeep/d,c\n")
    assert load_cohort(clinic).group.tolist() == ["M1", "M1", "M1"]


def test_duplicates_of_other_hospitals_alone_do_not_matter(write_cohort: WriteCohort) -> None:
    folder = write_cohort([{"lesion_id": "L"}])
    _pairs(folder, "image_a,image_b\nelsewhere,nowhere\n")
    assert load_cohort(folder).group.tolist() == ["L"]


@pytest.mark.parametrize("row", ["A,elsewhere", "elsewhere,A"])
def test_a_duplicate_elsewhere_without_its_lesion_is_refused(
    write_cohort: WriteCohort, row: str
) -> None:
    folder = write_cohort([{"image_id": "A", "lesion_id": "L5"}])
    _pairs(folder, f"image_a,image_b\n{row}\n")
    with pytest.raises(CohortError, match="image elsewhere is not in this cohort") as caught:
        load_cohort(folder)
    assert str(caught.value).startswith(f"{folder / 'duplicate_pairs.csv'}: ")
    assert "lesion_a and lesion_b" in str(caught.value)


def test_with_lesion_columns_every_hospital_finds_the_same_group(
    write_cohort: WriteCohort, tmp_path: Path
) -> None:
    pairs = "image_a,image_b,lesion_a,lesion_b\nA,B,L5,L3\nB,C,L3,L1\n"
    lesion = {"A": "L5", "B": "L3", "C": "L1"}
    for names in ("ABC", "A", "B", "C", "AC"):
        folder = write_cohort(
            [{"image_id": name, "lesion_id": lesion[name]} for name in names],
            folder=tmp_path / f"site-{names}",
        )
        _pairs(folder, pairs)
        assert load_cohort(folder).group.tolist() == ["L1"] * len(names)


def test_a_list_of_duplicates_without_its_columns_is_refused(write_cohort: WriteCohort) -> None:
    folder = write_cohort([{}])
    _pairs(folder, "image_a,other\nA,B\n")
    with pytest.raises(CohortError, match=r"duplicate_pairs.csv: column image_b is missing"):
        load_cohort(folder)


@pytest.fixture(scope="module")
def real(ham10000: Path) -> Cohort:
    return load_cohort(ham10000)


def test_the_real_cohort_is_as_documented(real: Cohort) -> None:
    assert len(real) == 10_015
    assert Counter(real.site.tolist()) == {
        "rosendahl": 2259,
        "vidir_modern": 3363,
        "vidir_molemax": 3954,
        "vienna_dias": 439,
    }
    counts = np.bincount(real.y[real.site == "rosendahl"], minlength=7)
    assert counts.tolist() == [295, 296, 490, 30, 342, 803, 3]
    assert len(set(real.lesion.tolist())) == 7470
    assert int(np.isnan(real.age).sum()) == 57
    assert (real.sex == "unknown").sum() == 57
    assert (real.localisation == "unknown").sum() == 234
    assert all(mask is not None for mask in real.mask)
    assert all(p.stem == name for p, name in zip(real.path, real.image_id.tolist(), strict=True))


def test_the_real_duplicates_share_a_group(real: Cohort, ham10000: Path) -> None:
    group = dict(zip(real.image_id.tolist(), real.group.tolist(), strict=True))
    lines = (ham10000 / "duplicate_pairs.csv").read_text().splitlines()[1:]
    assert len(lines) == 20
    for a, b, *_ in (line.split(",") for line in lines):
        assert group[a] == group[b]
