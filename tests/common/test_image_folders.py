"""Finding image files."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import CohortError
from common.image_folders import find_images, find_masks, list_images, without_ending

TABLE = Path("table.csv")


def _touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jpg", "a"),
        ("a.JPEG", "a"),
        ("a.b.png", "a.b"),
        ("a.b", "a.b"),
        ("a", "a"),
        ("1.2.840.10008", "1.2.840.10008"),
        ("sub/a.tif", "sub/a"),
        (".jpg", ".jpg"),
    ],
)
def test_only_an_image_ending_is_dropped(name: str, expected: str) -> None:
    assert without_ending(name) == expected


def test_only_images_are_listed(tmp_path: Path) -> None:
    _touch(tmp_path, "a.jpg", "b.PNG", "c.txt", "Thumbs.db", ".jpg", "sub/d.jpg")
    assert sorted(path.name for path in list_images(tmp_path)) == ["a.jpg", "b.PNG"]


@pytest.mark.parametrize(
    "pattern", ["pictures", "p*", "./pictures", "pictures/", "{root}/pictures", "{root}/pic*"]
)
def test_a_folder_may_be_relative_absolute_or_have_a_star(tmp_path: Path, pattern: str) -> None:
    _touch(tmp_path, "pictures/a.jpg")
    found = find_images(tmp_path, [pattern.format(root=tmp_path)], ["a"], TABLE)
    assert found == (tmp_path / "pictures" / "a.jpg",)


def test_images_may_lie_beside_the_table_or_above_it(tmp_path: Path) -> None:
    _touch(tmp_path, "a.jpg", "table/x")
    assert find_images(tmp_path, ["."], ["a"], TABLE) == (tmp_path / "a.jpg",)
    assert find_images(tmp_path / "table", [".."], ["a"], TABLE)[0].samefile(tmp_path / "a.jpg")


def test_a_folder_that_two_patterns_match_is_looked_at_once(tmp_path: Path) -> None:
    _touch(tmp_path, "pictures/a.jpg")
    assert len(find_images(tmp_path, ["pictures", "p*"], ["a"], TABLE)) == 1


def test_brackets_in_a_folder_name_are_no_pattern(tmp_path: Path) -> None:
    _touch(tmp_path, "pictures [1]/a.jpg")
    assert find_images(tmp_path, ["pictures [1]"], ["a"], TABLE)[0].name == "a.jpg"


def test_a_pattern_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"image folder 'a\*\*b'"):
        find_images(tmp_path, ["a**b"], ["a"], TABLE)


def test_without_any_folder_they_are_all_named(tmp_path: Path) -> None:
    _touch(tmp_path, "pictures.jpg")
    with pytest.raises(CohortError, match="none of the image folders is there: images, pic"):
        find_images(tmp_path, ["images", "pictures.jpg"], ["a"], TABLE)


def test_a_name_with_its_ending_is_that_file(tmp_path: Path) -> None:
    _touch(tmp_path, "one/a.jpg", "two/sub/b.png")
    found = find_images(tmp_path, ["one", "two"], ["sub/b.png", "a.jpg"], TABLE)
    assert found == (tmp_path / "two/sub/b.png", tmp_path / "one/a.jpg")


def test_one_id_under_two_endings_is_refused(tmp_path: Path) -> None:
    _touch(tmp_path, "one/a.jpg", "one/a.png")
    with pytest.raises(CohortError, match="image a is there twice"):
        find_images(tmp_path, ["one"], ["a"], TABLE)


def test_masks_are_optional(tmp_path: Path) -> None:
    _touch(tmp_path, "masks/a_segmentation.png", "masks/c.png", "masks/b_segmentation.txt")
    found = find_masks(tmp_path, ["masks", "absent"], ["a", "b", "c", "d"])
    names = [path.name if path else None for path in found]
    assert names == ["a_segmentation.png", None, "c.png", None]
    assert find_masks(tmp_path, [], ["a"]) == (None,)
