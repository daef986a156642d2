"""Colour: the published values of CIE L*a*b*, and the way back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from simulations.colour import lab_to_srgb, srgb_to_lab

LEVEL = st.integers(0, 255)


# Lindbloom's CIE colour calculator: sRGB, D65, 2 degree observer.
@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
        ((255, 255, 0), (97.14, -21.55, 94.48)),
        ((0, 255, 255), (91.11, -48.09, -14.13)),
        ((255, 0, 255), (60.32, 98.23, -60.82)),
        ((255, 255, 255), (100.0, 0.0, 0.0)),
        ((119, 119, 119), (50.03, 0.0, 0.0)),
        ((0, 0, 0), (0.0, 0.0, 0.0)),
    ],
)
def test_colours_have_their_published_coordinates(
    rgb: tuple[int, int, int], lab: tuple[float, float, float]
) -> None:
    np.testing.assert_allclose(srgb_to_lab(np.array(rgb, dtype=np.uint8)), lab, atol=0.01)


def _from_the_standards(rgb: list[int]) -> list[float]:
    """L*a*b* from the primaries' chromaticities alone, without any published matrix."""
    red, green, blue, white = (
        np.array([x / y, 1.0, (1 - x - y) / y])
        for x, y in ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), (0.3127, 0.3290))
    )
    primaries = np.stack([red, green, blue], axis=1)
    matrix = primaries * np.linalg.solve(primaries, white)
    levels = [value / 255 for value in rgb]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in levels]
    x, y, z = (
        t ** (1 / 3) if t > 216 / 24389 else (24389 / 27 * t + 16) / 116
        for t in (matrix @ linear / white).tolist()
    )
    return [116 * y - 16, 500 * (x - y), 200 * (y - z)]


@given(st.tuples(LEVEL, LEVEL, LEVEL))
def test_any_colour_agrees_with_the_standards(rgb: tuple[int, int, int]) -> None:
    lab = srgb_to_lab(np.array(rgb, dtype=np.uint8))
    np.testing.assert_allclose(lab, _from_the_standards(list(rgb)), atol=0.05)


def test_grey_has_no_colour() -> None:
    grey = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    lab = srgb_to_lab(grey)
    np.testing.assert_allclose(lab[:, 1:], 0.0, atol=1e-3)
    assert (np.diff(lab[:, 0]) > 0).all()


def test_every_colour_of_srgb_survives_there_and_back() -> None:
    level = np.arange(256, dtype=np.uint8)
    for red in level:
        rgb = np.stack(np.meshgrid(red, level, level, indexing="ij"), axis=-1)
        np.testing.assert_array_equal(lab_to_srgb(srgb_to_lab(rgb)), rgb)


@pytest.mark.parametrize(
    ("lab", "rgb"),
    [
        ((130.0, 0.0, 0.0), (255, 255, 255)),
        ((-30.0, 0.0, 0.0), (0, 0, 0)),
        ((53.24, 150.0, 120.0), (255, 0, 0)),
        ((87.73, -200.0, 200.0), (0, 255, 0)),
    ],
)
def test_what_srgb_lacks_is_clipped_and_does_not_wrap(
    lab: tuple[float, float, float], rgb: tuple[int, int, int]
) -> None:
    found = lab_to_srgb(np.array(lab, dtype=np.float32))
    assert tuple(found.tolist()) == rgb


def test_pictures_keep_their_shape_and_types() -> None:
    picture: NDArray[np.uint8] = np.random.default_rng(0).integers(
        0, 256, (5, 7, 3), dtype=np.uint8
    )
    lab = srgb_to_lab(picture)
    assert lab.shape == (5, 7, 3)
    assert lab.dtype == np.float32
    back = lab_to_srgb(lab)
    assert back.shape == (5, 7, 3)
    assert back.dtype == np.uint8
