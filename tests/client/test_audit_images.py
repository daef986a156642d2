"""Checks of image files: damaged, of odd size, the same bytes twice, masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import Image

from client.audit.assignment import Assignment
from client.audit.finding import Finding, Severity
from client.audit.image_checks import (
    check_identical,
    check_masks,
    check_readable,
    check_sizes,
)
from client.audit.pictures import ORIENTATIONS, open_pictures, perceive
from common.cohort import Cohort, load_cohort


@pytest.fixture
def folder(write_cohort: Callable[..., Path]) -> Path:
    """Six images of 24 x 18 pixels, of lesions A A B C D E, at two sites."""
    rows = [
        {"lesion_id": lesion, "dataset": site} for lesion, site in zip("AABCDE", "xyxyxy",
                                                                       strict=True)
    ]  # fmt: skip
    return write_cohort(rows)


def image(folder: Path, number: int) -> Path:
    return folder / "images" / f"ISIC_{number}.jpg"


def split(text: str) -> Assignment:
    names = {"r": "train", "v": "validation", "e": "test", "-": ""}
    return Assignment("split", np.array([names[letter] for letter in text], dtype="<U10"))


def test_damaged_images_and_masks_are_errors_that_name_the_file(folder: Path) -> None:
    image(folder, 1).write_bytes(image(folder, 1).read_bytes()[:300])
    image(folder, 2).write_text("a letter to the doctor", encoding="utf-8")
    image(folder, 3).write_bytes(b"")
    mask = folder / "masks" / "ISIC_4_segmentation.png"
    mask.parent.mkdir()
    mask.write_bytes(b"no mask")
    pictures = open_pictures(load_cohort(folder))
    assert pictures.readable.tolist() == [True, False, False, False, True, True]
    (found,) = check_readable(pictures)
    assert (found.severity, found.count) == (Severity.ERROR, 4)
    for path, text in zip(
        (*map(image, [folder] * 3, (1, 2, 3)), mask),
        ("truncated", "not an image", "empty", "not an image"),
        strict=True,
    ):
        assert any(str(path) in line and text in line for line in found.examples)


def test_sound_images_are_no_finding_and_every_one_is_opened(folder: Path) -> None:
    calls: list[tuple[int, int]] = []
    pictures = open_pictures(load_cohort(folder), progress=lambda *done: calls.append(done))
    assert check_readable(pictures) == []
    assert calls[-1] == (6, 6)
    assert pictures.size.tolist() == [[24, 18]] * 6


def sizes(cohort: Cohort, input_size: int = 16) -> list[Finding]:
    return check_sizes(cohort, open_pictures(cohort, likeness=False), input_size)


def test_images_of_another_size_are_counted_by_size_and_site(
    folder: Path, write_image: Callable[..., Path]
) -> None:
    assert sizes(load_cohort(folder)) == []
    write_image(image(folder, 1), 1, width=48, height=36)
    write_image(image(folder, 3), 2, width=48, height=36)
    write_image(image(folder, 4), 3, width=18, height=24)
    (found,) = sizes(load_cohort(folder))
    assert (found.severity, found.count) == (Severity.WARNING, 3)
    assert found.examples == ("48x36 at y: 2", "18x24 at x: 1")
    assert "usual 24x18" in found.message


def test_images_smaller_than_the_backbones_input_are_a_remark(folder: Path) -> None:
    (found,) = sizes(load_cohort(folder), input_size=20)
    assert (found.severity, found.count) == (Severity.INFO, 6)
    assert "20 pixels" in found.message


def test_a_cohort_without_a_readable_image_has_no_usual_size(folder: Path) -> None:
    for number in range(6):
        image(folder, number).write_bytes(b"")
    assert sizes(load_cohort(folder)) == []


def test_a_mask_of_another_size_than_its_image_is_named(folder: Path) -> None:
    (folder / "masks").mkdir()
    for number, size in ((0, (24, 18)), (2, (48, 36))):
        Image.new("L", size).save(folder / "masks" / f"ISIC_{number}_segmentation.png")
    cohort = load_cohort(folder)
    (found,) = check_masks(cohort, open_pictures(cohort, likeness=False))
    assert (found.severity, found.count) == (Severity.WARNING, 1)
    assert found.examples == ("ISIC_2 image 24x18, mask 48x36",)


@pytest.mark.parametrize(
    ("pair", "parts", "severity"),
    [
        ((0, 1), "rrrrrr", Severity.WARNING),
        ((0, 2), "rrrrrr", Severity.ERROR),
        ((0, 2), "r-errr", Severity.LEAK),
        ((0, 2), "-rerrr", Severity.ERROR),
        ((0, 1), "vrrrrr", Severity.LEAK),
    ],
)
def test_the_same_bytes_under_two_ids_weigh_by_where_they_are(
    folder: Path, pair: tuple[int, int], parts: str, severity: Severity
) -> None:
    image(folder, pair[1]).write_bytes(image(folder, pair[0]).read_bytes())
    cohort = load_cohort(folder)
    # Found without looking for near-duplicates, too.
    pictures = open_pictures(cohort, likeness=False)
    (found,) = check_identical(cohort, pictures, split(parts))
    assert (found.severity, found.count) == (severity, 1)
    assert found.examples == (f"ISIC_{pair[0]} ISIC_{pair[1]}",)


def test_different_images_and_empty_files_are_not_identical(folder: Path) -> None:
    for number in (1, 2):
        image(folder, number).write_bytes(b"")
    cohort = load_cohort(folder)
    assert check_identical(cohort, open_pictures(cohort), split("rerere")) == []


def test_hashes_are_those_of_imagehash_at_full_resolution_in_every_orientation() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    photograph = Image.fromarray(pixels).resize((600, 450), Image.Resampling.BICUBIC)
    hashes, thumb = perceive(photograph)
    assert thumb.shape == (112, 112)
    wanted = [photograph, *(photograph.transpose(Image.Transpose[n]) for n in ORIENTATIONS[1:])]
    differing = [
        int((np.unpackbits(code) != imagehash.phash(turned, hash_size=16).hash.ravel()).sum())
        for code, turned in zip(hashes, wanted, strict=True)
    ]
    # Pillow rounds between its horizontal and its vertical pass, so a turned image may differ in
    # coefficients next to the median; unrelated images differ in about 128 bits.
    assert differing[0] == 0
    assert max(differing) <= 12
    assert len({code.tobytes() for code in hashes}) == 8
