"""One look into another: colours and blur meet, and black stays black."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from common.cohort import load_cohort
from common.errors import CohortError
from common.transform import Transform
from simulations.colour import lab_to_srgb, srgb_to_lab
from simulations.looks import SIDE, measure_looks
from simulations.shifted_features import LookTransform, Shift, shift_between
from tests.simulations.picture_cohort import (
    MODERN,
    MOLEMAX,
    ROSENDAHL,
    Picture,
    widths,
    write_pictures,
)

NONE = Shift((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), 0.0)


def _scene(rng: np.random.Generator) -> NDArray[np.float32]:
    """A soft skin with a sharp dark spot, in L*a*b*."""
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2 + rng.uniform(-15, 15, (2, 1, 1))
    spot = np.hypot(x, y * rng.uniform(0.7, 1.4)) < rng.uniform(35, 60)
    texture = gaussian_filter(rng.standard_normal((SIDE, SIDE, 3)), (8, 8, 0)) * 40
    base = np.where(spot[..., None], (45.0, 12.0, 8.0), (65.0, 16.0, 12.0))
    scene: NDArray[np.float32] = (base + texture).astype(np.float32)
    return scene


def _png(folder: Path, pixels: NDArray[np.uint8]) -> bytes:
    path = folder / "picture.png"
    Image.fromarray(pixels).save(path)
    return path.read_bytes()


def test_a_drawn_look_is_given_to_the_pictures_of_another_site(tmp_path: Path) -> None:
    # Site b sees the same scenes as site a through a known lens and known colours.
    rng = np.random.default_rng(2)
    scenes = [_scene(rng) for _ in range(6)]
    scale, offset = np.array([0.8, 1.2, 0.9]), np.array([8.0, 9.0, -5.0])
    plain = [lab_to_srgb(scene) for scene in scenes]
    seen = [
        lab_to_srgb((gaussian_filter(s, (2, 2, 0)) * scale + offset).astype("f4")) for s in scenes
    ]
    pictures = [Picture("a", p) for p in plain] + [Picture("b", p) for p in seen]
    looks = measure_looks(write_pictures(tmp_path, pictures))
    shift = shift_between(looks["a"], looks["b"])
    assert shift.blur == pytest.approx(2.0, rel=0.1)
    transform = LookTransform(SIDE, 0.5, 0.5, shift)
    for before, wanted in zip(plain, seen, strict=True):
        found = transform.pixels(_png(tmp_path, before), tmp_path).astype(float)
        # The blur takes a little of the spread, which colours are matched without.
        assert np.abs(found - wanted).mean() < 1.5
        assert np.quantile(np.abs(found - wanted), 0.999) < 6
        assert np.abs(before.astype(float) - wanted).mean() > 6


def test_the_drawn_cohort_takes_on_another_camera_s_look(cohort: Path, tmp_path: Path) -> None:
    table = load_cohort(cohort)
    looks = measure_looks(table, at_most=40)
    here, there = "rosendahl", "vidir_molemax"
    transform = LookTransform(SIDE, 0.5, 0.5, shift_between(looks[here], looks[there]))
    paths = [p for p, site in zip(table.path, table.site, strict=True) if site == here][:40]
    shifted = [Picture(there, transform.pixels(path.read_bytes(), path)) for path in paths]
    found = measure_looks(write_pictures(tmp_path, shifted))[there]
    wanted = looks[there]
    np.testing.assert_allclose(found.mean, wanted.mean, atol=2.0)
    np.testing.assert_allclose(found.std, wanted.std, rtol=0.12)
    assert found.edge_widths[0] == pytest.approx(wanted.edge_widths[0], rel=0.15)


def test_the_means_and_spreads_meet() -> None:
    shift = shift_between(ROSENDAHL, MOLEMAX)
    scale, offset = np.array(shift.scale), np.array(shift.offset)
    np.testing.assert_allclose(np.array(ROSENDAHL.mean) * scale + offset, MOLEMAX.mean, atol=1e-3)
    np.testing.assert_allclose(np.array(ROSENDAHL.std) * scale, MOLEMAX.std, atol=1e-3)


def test_a_channel_without_spread_is_moved_only() -> None:
    grey = replace(ROSENDAHL, mean=(50.0, 0.0, 0.0), std=(10.0, 0.0, 0.0))
    shift = shift_between(grey, MOLEMAX)
    assert shift.scale[1:] == (1.0, 1.0)
    assert shift.offset[1:] == (30.0, 20.0)


def test_a_sharper_target_gets_no_blur() -> None:
    assert shift_between(MODERN, ROSENDAHL).blur == 0.0
    assert shift_between(ROSENDAHL, ROSENDAHL).blur == 0.0
    assert shift_between(ROSENDAHL, MODERN).blur > 0.0


@given(st.floats(1.2, 8.0))
def test_the_blur_is_what_the_target_s_variance_has_more(width: float) -> None:
    blur = shift_between(ROSENDAHL, replace(MODERN, edge_widths=widths(width))).blur
    assert blur == pytest.approx(np.sqrt(width**2 - 1.2**2), abs=1e-3)


def test_a_measured_response_that_does_not_add_is_followed() -> None:
    # A blur of 2 widens these edges to 4, and one of 1 as good as nothing.
    source = replace(ROSENDAHL, edge_widths=(1.0, 0.99, 4.0, 6.0, 9.0))
    assert shift_between(source, replace(MODERN, edge_widths=(4.0,) * 5)).blur == 2.0
    between = shift_between(source, replace(MODERN, edge_widths=(2.0,) * 5)).blur
    assert 1.0 < between < 2.0


def test_a_target_blurred_beyond_measure_is_refused() -> None:
    with pytest.raises(CohortError, match="site vidir_modern: its images are so blurred"):
        shift_between(ROSENDAHL, replace(MODERN, edge_widths=(9.0, 9.1, 9.2, 9.5, 12.0)))


def test_no_shift_leaves_the_pixels_as_they_are(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = _png(tmp_path, rng.integers(0, 256, (50, 70, 3), dtype=np.uint8))
    found = LookTransform(40, 0.5, 0.5, NONE).pixels(data, tmp_path)
    np.testing.assert_array_equal(found, Transform(40, 0.5, 0.5).pixels(data, tmp_path))


def test_black_stays_black(tmp_path: Path) -> None:
    data = _png(tmp_path, np.zeros((30, 30, 3), dtype=np.uint8))
    reddening = Shift((1.0, 1.0, 1.0), (0.0, 30.0, 20.0), 0.0)
    assert not LookTransform(30, 0.5, 0.5, reddening).pixels(data, tmp_path).any()


def test_what_is_not_dark_gets_the_whole_shift(tmp_path: Path) -> None:
    grey = np.full((30, 30, 3), 119, dtype=np.uint8)
    shift = Shift((0.9, 1.0, 1.0), (4.0, 12.0, -7.0), 0.0)
    found = LookTransform(30, 0.5, 0.5, shift).pixels(_png(tmp_path, grey), tmp_path)
    # L* of this grey is 50.03.
    np.testing.assert_allclose(srgb_to_lab(found)[3, 3], (49.03, 12.0, -7.0), atol=0.5)


def test_a_lesion_that_the_shift_darkens_loses_its_site_s_cast_nonetheless(
    tmp_path: Path,
) -> None:
    red = np.full((30, 30, 3), (150, 60, 60), dtype=np.uint8)
    lightness, a, b = srgb_to_lab(red)[3, 3].tolist()
    assert lightness > 25
    shift = Shift((1.0, 1.0, 1.0), (12.0 - lightness, -a, -b), 0.0)
    found = LookTransform(30, 0.5, 0.5, shift).pixels(_png(tmp_path, red), tmp_path)
    np.testing.assert_allclose(srgb_to_lab(found)[3, 3], (12.0, 0.0, 0.0), atol=0.5)


def test_the_blur_is_the_same_share_of_the_picture_at_every_size(tmp_path: Path) -> None:
    step = np.full((SIDE, SIDE, 3), 40, dtype=np.uint8)
    step[:, SIDE // 2 :] = 200
    data = _png(tmp_path, step)
    blurring = replace(NONE, blur=6.0)
    full, half = (
        LookTransform(size, 0.5, 0.5, blurring).pixels(data, tmp_path).astype(float)
        for size in (SIDE, SIDE // 2)
    )
    smaller = full.reshape(SIDE // 2, 2, SIDE // 2, 2, 3).mean(axis=(1, 3))
    assert np.abs(half - smaller).max() < 4


@pytest.mark.parametrize(
    "other",
    [
        replace(NONE, blur=0.001),
        *(replace(NONE, scale=tuple(v)) for v in np.ones((3, 3)) + 1e-5 * np.eye(3)),
        *(replace(NONE, offset=tuple(v)) for v in 1e-5 * np.eye(3)),
    ],
)
def test_the_key_changes_with_every_number(other: Shift) -> None:
    plain = LookTransform(8, 0.5, 0.5, NONE)
    assert replace(plain, shift=other).key != plain.key
    assert Transform(8, 0.5, 0.5).key != plain.key
    assert replace(plain, size=9).key != plain.key
