"""Near-duplicates: copies are found however they were altered, different images are not."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageFilter

from client.audit import near_duplicates
from client.audit.assignment import Assignment
from client.audit.candidates import NEAR, find_candidates
from client.audit.finding import Finding, Severity
from client.audit.near_duplicates import CERTAIN, LIKELY, check_near_duplicates, compare
from client.audit.pictures import ORIENTATIONS, open_pictures, perceive, turn
from client.audit.texture import likeness, texture
from common.cohort import Cohort, load_cohort

Photograph = Image.Image
Alter = Callable[[Photograph], Photograph]


def photograph(seed: int, *, width: int = 320, height: int = 240) -> Photograph:
    """A dark spot on light skin in front of a vignette; only the grain tells two apart."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    grey = 190.0 - 110.0 * np.exp(-(((x / 0.3) ** 2 + (y / 0.35) ** 2) ** 2))
    grey -= 120.0 * (x**2 + y**2 > 1.2)
    for divisor, contrast in ((4, 6.0), (8, 9.0), (20, 9.0)):
        shape = (height // divisor, width // divisor)
        grain = Image.fromarray(random.normal(size=shape).astype(np.float32))
        grey += contrast * np.asarray(grain.resize((width, height), Image.Resampling.BICUBIC))
    rgb = grey[:, :, None] * (1.0, 0.8, 0.75)
    return Image.fromarray(rgb.clip(0, 255).astype(np.uint8))


def encode(quality: int) -> Alter:
    def alter(image: Photograph) -> Photograph:
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=quality)
        return Image.open(io.BytesIO(stream.getvalue())).convert("RGB")

    return alter


def scale(factor: float) -> Alter:
    return lambda image: image.resize(
        (round(image.width * factor), round(image.height * factor)), Image.Resampling.BICUBIC
    )


def brighten(factor: float) -> Alter:
    return lambda image: ImageEnhance.Brightness(image).enhance(factor)


def everything(image: Photograph) -> Photograph:
    return encode(60)(brighten(1.1)(scale(0.7)(image)))


def score(one: Photograph, other: Photograph) -> float:
    thumbs = np.stack([perceive(image)[1] for image in (one, other)])
    made = texture(thumbs)
    return float(likeness(made[0], made[1:])[0])


ALTERATIONS: dict[str, Alter] = {
    "encoded again": encode(70),
    "encoded badly": encode(40),
    "smaller": scale(0.5),
    "larger": scale(1.5),
    "darker": brighten(0.7),
    "brighter": brighten(1.2),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
    "sharpened": lambda image: image.filter(ImageFilter.SHARPEN),
    "everything": everything,
}


@pytest.mark.parametrize("name", ALTERATIONS)
def test_an_altered_copy_is_certainly_alike(name: str) -> None:
    for seed in range(5):
        image = photograph(seed)
        assert score(image, ALTERATIONS[name](image)) >= CERTAIN


@given(st.integers(0, 10_000), st.integers(40, 95), st.floats(0.5, 1.6), st.floats(0.6, 1.15))
@settings(max_examples=25)
def test_any_mild_alteration_is_certainly_alike(
    seed: int, quality: int, factor: float, light: float
) -> None:
    image = photograph(seed)
    assert score(image, encode(quality)(brighten(light)(scale(factor)(image)))) >= CERTAIN


@given(st.integers(0, 10_000), st.integers(1, 10_000))
@settings(max_examples=40)
def test_two_images_that_share_all_but_the_grain_are_not_alike(seed: int, step: int) -> None:
    assert score(photograph(seed), photograph(seed + step)) < LIKELY


def test_a_shifted_photograph_is_alike_and_flat_images_are_not() -> None:
    image = photograph(1)
    moved = image.transform(image.size, Image.Transform.AFFINE, (1, 0, 20, 0, 1, -15))
    assert score(image, moved) >= CERTAIN
    flat = Image.new("RGB", (320, 240), (200, 150, 150))
    assert score(flat, flat) == 0.0
    assert score(image, flat) == 0.0


def test_the_likeness_is_the_largest_correlation_over_shifts() -> None:
    """Against NumPy's corrcoef of every window."""
    random = np.random.default_rng(3)
    a, b = random.normal(size=(2, 112, 112)).astype(np.float16)
    b[25:95, 30:100] += a[21:91, 21:91]
    # Means of windows that differ, which a correlation takes away.
    a, b = a + np.float16(1.5), b + np.linspace(-3, 3, 112, dtype=np.float16)
    middle = a[21:91, 21:91].astype(np.float64).ravel()
    wanted = max(
        np.corrcoef(middle, b[y : y + 70, x : x + 70].astype(np.float64).ravel())[0, 1]
        for y in range(4, 39)
        for x in range(4, 39)
    )
    assert wanted > 0.5
    assert likeness(a, b[None])[0] == pytest.approx(wanted, abs=1e-4)


@pytest.fixture
def cohort_of(write_cohort: Callable[..., Path]) -> Callable[..., Cohort]:
    """Write a cohort of the images given, a lesion each unless told."""

    def make(images: Sequence[Photograph], lesions: str = "", **columns: Sequence[str]) -> Cohort:
        rows = [{"lesion_id": name} for name in lesions or [f"L{i}" for i in range(len(images))]]
        for column, values in columns.items():
            for row, value in zip(rows, values, strict=True):
                row[column] = value
        folder = write_cohort(rows)
        for number, image in enumerate(images):
            image.save(folder / "images" / f"ISIC_{number}.jpg", quality=90)
        return load_cohort(folder)

    return make


def find(cohort: Cohort, parts: Sequence[str]) -> list[Finding]:
    split = Assignment("split", np.array(parts, dtype="<U10"))
    return check_near_duplicates(cohort, open_pictures(cohort), split)


def test_a_copy_under_another_lesion_on_two_sides_of_the_split_is_a_leak(
    cohort_of: Callable[..., Cohort],
) -> None:
    images = [photograph(1), photograph(2), everything(photograph(1)), photograph(3)]
    cohort = cohort_of(images)
    (found,) = find(cohort, ["train", "train", "test", "test"])
    assert (found.severity, found.count) == (Severity.LEAK, 1)
    (example,) = found.examples
    assert example.startswith("ISIC_0 ISIC_2 (")
    assert "train and test" in example
    (found,) = find(cohort, ["train", "train", "train", "test"])
    assert (found.severity, found.count) == (Severity.WARNING, 1)


def test_copies_within_one_lesion_and_identical_files_are_not_near_duplicates(
    cohort_of: Callable[..., Cohort],
) -> None:
    # Files of the same bytes are what another check reports.
    images = [photograph(1), encode(70)(photograph(1)), photograph(2), photograph(2)]
    (found,) = find(cohort_of(images, "AABC"), ["train", "test", "train", "test"])
    assert (found.severity, found.count) == (Severity.INFO, 0)


@pytest.mark.parametrize("orientation", ORIENTATIONS[1:])
def test_a_flipped_or_turned_copy_is_found_and_told_how(
    orientation: str, cohort_of: Callable[..., Cohort]
) -> None:
    images = [photograph(5), turn(photograph(5), orientation), photograph(6)]
    (found,) = find(cohort_of(images), ["train", "test", "train"])
    assert (found.severity, found.count) == (Severity.LEAK, 1)
    assert orientation.lower() in found.examples[0]


def test_an_unreadable_image_is_passed_over(cohort_of: Callable[..., Cohort]) -> None:
    cohort = cohort_of([photograph(1), photograph(2), photograph(3)])
    for row in (0, 1):
        cohort.path[row].write_bytes(b"")
    (found,) = find(cohort, ["train", "test", "test"])
    assert (found.severity, found.count) == (Severity.INFO, 0)


def test_what_only_looks_alike_asks_for_eyes_and_is_no_leak(
    cohort_of: Callable[..., Cohort], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(near_duplicates, "compare", lambda _, pairs, __: np.full(len(pairs.a), 0.5))
    images = [photograph(1), encode(60)(photograph(1))]
    (found,) = find(cohort_of(images), ["train", "test"])
    assert (found.severity, found.count) == (Severity.WARNING, 1)
    assert "if one lesion" in found.message


def test_candidates_are_the_pairs_that_counting_bits_gives(
    cohort_of: Callable[..., Cohort],
) -> None:
    images = [photograph(seed) for seed in range(12)]
    cohort = cohort_of(images, "AABCDEFGHIJK", age=["", "40", "40", "40", *[""] * 8])
    pictures = open_pictures(cohort)
    assert pictures.hashes is not None
    bits = np.unpackbits(pictures.hashes, axis=2)
    wanted = {}
    for a in range(12):
        for b in range(a + 1, 12):
            distance = int((bits[a, 0] != bits[b, 0]).sum())
            same_age = a in (1, 2, 3) and b in (1, 2, 3)
            if cohort.group[a] != cohort.group[b] and distance <= (120 if same_age else NEAR):
                wanted[a, b] = distance
    found = find_candidates(cohort, pictures)
    upright = found.turned == 0
    pairs = zip(found.a[upright].tolist(), found.b[upright].tolist(), strict=True)
    assert dict(zip(pairs, found.distance[upright].tolist(), strict=True)) == wanted
    assert len(wanted) > 1


def test_of_too_many_candidates_the_nearest_are_compared(
    cohort_of: Callable[..., Cohort],
) -> None:
    images = [encode(quality)(photograph(1)) for quality in (95, 90, 80, 60, 40)]
    cohort = cohort_of(images)
    pictures = open_pictures(cohort)
    everyone = find_candidates(cohort, pictures)
    few = find_candidates(cohort, pictures, at_most=3)
    assert everyone.dropped == 0
    assert (len(few.a), few.dropped) == (3, len(everyone.a) - 3)
    assert sorted(few.distance) == sorted(everyone.distance)[:3]
    assert (compare(pictures, few) >= CERTAIN).all()


def test_a_published_pair_of_ham10000_is_certain_and_another_lesion_is_not_alike(
    ham10000: Path,
) -> None:
    def load(name: str) -> Photograph:
        return Image.open(ham10000 / "images" / f"{name}.jpg").convert("RGB")

    one = load("ISIC_0025226")
    assert score(one, load("ISIC_0030074")) >= CERTAIN
    assert score(one, load("ISIC_0024306")) < LIKELY
