"""Skin tone: the angle of the skin beside the lesion, and of nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from common.cohort import Cohort, load_cohort
from common.errors import CohortError, ImageError
from simulations.skin_tone import (
    BLUISH,
    LITTLE_SKIN,
    NO_MASK,
    TONES,
    UNREADABLE,
    SkinTones,
    skin_tones,
    tone_groups,
    typology_angle,
)
from tests.simulations.picture_cohort import Picture, write_pictures

SIDE = 200
Colour = tuple[int, int, int]

# sRGB, and by Lindbloom's formulas L* and b*, from which the angle was worked out by hand.
FAIR: Colour = (236, 214, 197)
OLIVE: Colour = (187, 142, 106)
DEEP: Colour = (92, 60, 41)
LESION: Colour = (70, 30, 60)


def _angle(colour: Colour) -> float:
    """The angle of one colour, from the standards' formulas."""
    levels = [value / 255 for value in colour]
    r, g, b = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in levels)
    y = 0.2126729 * r + 0.7151522 * g + 0.0721750 * b
    z = (0.0193339 * r + 0.1191920 * g + 0.9503041 * b) / 1.08883
    lightness, yellowness = 116 * y ** (1 / 3) - 16, 200 * (y ** (1 / 3) - z ** (1 / 3))
    return float(np.degrees(np.arctan((lightness - 50) / yellowness)))


def _disc(radius: float) -> NDArray[np.bool_]:
    away = np.arange(SIDE) - (SIDE - 1) / 2
    inside: NDArray[np.bool_] = np.hypot(away[:, None], away) < radius
    return inside


def _mask(lesion: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return lesion.astype(np.uint8) * np.uint8(255)


def _painted(skin: Colour, radius: float = 40.0) -> Picture:
    """A round lesion on even skin."""
    lesion = _disc(radius)
    pixels = np.full((SIDE, SIDE, 3), skin, dtype=np.uint8)
    pixels[lesion] = LESION
    return Picture("rosendahl", pixels, _mask(lesion))


def _one(folder: Path, picture: Picture) -> tuple[float, str, str]:
    found = skin_tones(write_pictures(folder, [picture]))
    return float(found.angle[0]), str(found.group[0]), str(found.why_unknown[0])


@pytest.mark.parametrize(
    ("colour", "group"), [(FAIR, "very light"), (OLIVE, "tan"), (DEEP, "dark")]
)
def test_the_angle_is_that_of_the_skin_beside_the_lesion(
    tmp_path: Path, colour: Colour, group: str
) -> None:
    angle, found, why = _one(tmp_path, _painted(colour))
    assert angle == pytest.approx(_angle(colour), abs=0.1)
    assert (found, why) == (group, "")


@pytest.mark.parametrize(
    ("lightness", "yellowness", "angle"),
    [(60, 10, 45), (50, 10, 0), (40, 10, -45), (67.3205, 10, 60), (50 - 5.7735, 10, -30)],
)
def test_typology_angles_worked_out_by_hand(
    lightness: float, yellowness: float, angle: float
) -> None:
    assert typology_angle(lightness, yellowness) == pytest.approx(angle, abs=1e-3)


@given(st.floats(0, 100), st.floats(-100, 100))
def test_the_angle_is_the_published_formula_where_skin_is_yellowish(
    lightness: float, yellowness: float
) -> None:
    angle = typology_angle(lightness, yellowness)
    if yellowness > 0:
        with np.errstate(over="ignore"):
            expected = np.degrees(np.arctan(np.float64(lightness - 50) / yellowness))
        assert angle == pytest.approx(expected, abs=1e-9)
        assert -90 <= angle <= 90
    else:
        assert np.isnan(angle)


# Chardon 1991; Del Bino & Bernerd 2013.
@pytest.mark.parametrize(
    ("angle", "group"),
    [
        *((90.0, "very light"), (55.01, "very light"), (55.0, "light"), (41.01, "light")),
        *((41.0, "intermediate"), (28.01, "intermediate"), (28.0, "tan"), (10.01, "tan")),
        *((10.0, "brown"), (0.0, "brown"), (-29.99, "brown"), (-30.01, "dark"), (-90.0, "dark")),
        (np.nan, "unknown"),
    ],
)
def test_groups_end_where_they_were_published_to_end(angle: float, group: str) -> None:
    assert tone_groups(np.array([angle])).tolist() == [group]


def test_every_image_gets_its_own_angle_in_the_cohort_s_order(tmp_path: Path) -> None:
    colours = [FAIR, DEEP, OLIVE, FAIR, OLIVE]
    told: list[tuple[int, int]] = []
    cohort = write_pictures(tmp_path, [_painted(colour) for colour in colours])
    found = skin_tones(cohort, lambda *at: told.append(at))
    np.testing.assert_allclose(found.angle, [_angle(colour) for colour in colours], atol=0.1)
    assert found.group.tolist() == ["very light", "dark", "tan", "very light", "tan"]
    assert told[-1] == (5, 5)


def test_the_border_of_the_lesion_does_not_count(tmp_path: Path) -> None:
    # A strip of 30 pixels without lesion: 8 at either side are border, more than the 14 between.
    pixels = np.full((SIDE, SIDE, 3), LESION, dtype=np.uint8)
    lesion = np.ones((SIDE, SIDE), dtype=np.bool_)
    lesion[:, 85:115] = False
    pixels[:, 85:115] = DEEP
    pixels[:, 93:107] = FAIR
    assert _one(tmp_path, Picture("a", pixels, _mask(lesion)))[1] == "very light"


@pytest.mark.parametrize("colour", [(0, 0, 0), (40, 38, 41), (255, 180, 150), (255, 255, 255)])
def test_black_borders_and_clipped_highlights_do_not_count(tmp_path: Path, colour: Colour) -> None:
    picture = _painted(OLIVE, radius=25)
    picture.pixels[~_disc(65)] = colour
    assert _disc(65).mean() < 0.5
    angle, group, _ = _one(tmp_path, picture)
    assert angle == pytest.approx(_angle(OLIVE), abs=0.1)
    assert group == "tan"


def test_the_corners_do_not_count(tmp_path: Path) -> None:
    # Outside of the lesion are a strip, three fifths of it fair, and the corners, with which the
    # deep colour would prevail.
    lesion = _disc(110)
    lesion[:, 80:120] = False
    pixels = np.full((SIDE, SIDE, 3), DEEP, dtype=np.uint8)
    pixels[:120, 80:120] = FAIR
    assert _one(tmp_path, Picture("a", pixels, _mask(lesion)))[1] == "very light"


def test_an_image_without_a_mask_is_unknown(tmp_path: Path) -> None:
    angle, group, why = _one(tmp_path, replace(_painted(FAIR), mask=None))
    assert np.isnan(angle)
    assert (group, why) == ("unknown", NO_MASK)


def test_an_empty_mask_is_no_mask(tmp_path: Path) -> None:
    empty = replace(_painted(FAIR), mask=np.zeros((SIDE, SIDE), dtype=np.uint8))
    assert _one(tmp_path, empty)[1:] == ("unknown", NO_MASK)


@pytest.mark.parametrize(("columns", "why"), [(9, LITTLE_SKIN), (11, "")])
def test_skin_on_less_than_a_twentieth_of_the_image_is_no_measurement(
    tmp_path: Path, columns: int, why: str
) -> None:
    # The margin takes 8 columns at either side.
    lesion = np.ones((SIDE, SIDE), dtype=np.bool_)
    lesion[:, 80 : 96 + columns] = False
    picture = replace(_painted(FAIR, radius=0), mask=_mask(lesion))
    angle, _, found = _one(tmp_path, picture)
    assert found == why
    assert np.isnan(angle) == bool(why)


def test_bluish_skin_has_no_angle(tmp_path: Path) -> None:
    angle, group, why = _one(tmp_path, _painted((190, 180, 200)))
    assert np.isnan(angle)
    assert (group, why) == ("unknown", BLUISH)


def test_a_pixel_is_lesion_above_127(tmp_path: Path) -> None:
    # The picture's left half is deep, its right half fair; the mask says which is skin.
    pixels = np.full((SIDE, SIDE, 3), DEEP, dtype=np.uint8)
    pixels[:, SIDE // 2 :] = FAIR
    mask = np.full((SIDE, SIDE), 127, dtype=np.uint8)
    mask[:, : SIDE // 2] = 128
    assert _one(tmp_path, Picture("a", pixels, mask))[1] == "very light"


def test_a_palette_mask_is_read_by_its_colours_and_not_by_its_indices(tmp_path: Path) -> None:
    cohort = write_pictures(tmp_path, [_painted(FAIR)])
    assert cohort.mask[0] is not None
    # Index 0 is white, 1 is black.
    indices = Image.fromarray((~_disc(40)).astype(np.uint8)).convert("P")
    indices.putpalette([255, 255, 255, 0, 0, 0])
    indices.save(cohort.mask[0])
    found = skin_tones(cohort)
    assert found.angle[0] == pytest.approx(_angle(FAIR), abs=0.1)


def test_a_mask_of_another_size_but_the_same_shape_is_scaled(tmp_path: Path) -> None:
    # All but the right quarter is lesion.
    pixels = np.full((SIDE, SIDE, 3), DEEP, dtype=np.uint8)
    pixels[:, 150:] = OLIVE
    small = np.full((SIDE // 2, SIDE // 2), 255, dtype=np.uint8)
    small[:, 75:] = 0
    angle, _, _ = _one(tmp_path, Picture("a", pixels, small))
    assert angle == pytest.approx(_angle(OLIVE), abs=0.1)


def test_a_mask_of_another_shape_is_refused_by_name(tmp_path: Path) -> None:
    wide = np.full((SIDE // 2, SIDE), 255, dtype=np.uint8)
    with pytest.raises(CohortError, match=r"_segmentation\.png: the mask has 200 x 100 pixels, it"):
        _one(tmp_path, replace(_painted(OLIVE), mask=wide))


def _image_of(cohort: Cohort) -> Path:
    return cohort.path[1]


def _mask_of(cohort: Cohort) -> Path:
    assert cohort.mask[1] is not None
    return cohort.mask[1]


@pytest.mark.parametrize("which", [_image_of, _mask_of])
def test_what_cannot_be_read_is_named_or_unknown(
    tmp_path: Path, which: Callable[[Cohort], Path]
) -> None:
    cohort = write_pictures(tmp_path, [_painted(FAIR), _painted(FAIR), _painted(DEEP)])
    which(cohort).write_bytes(which(cohort).read_bytes()[:100])
    with pytest.raises(ImageError, match=f"{which(cohort).name}: damaged or truncated"):
        skin_tones(cohort)
    found = skin_tones(cohort, skip_unreadable=True)
    assert found.group.tolist() == ["very light", "unknown", "dark"]
    assert found.why_unknown.tolist() == ["", UNREADABLE, ""]


def _every(cohort: Cohort, step: int) -> SkinTones:
    few = replace(cohort, path=cohort.path[::step], mask=cohort.mask[::step])
    return skin_tones(few)


def test_ham10000_is_light_skin_or_too_bluish_to_tell(ham10000: Path) -> None:
    # Kinyanjui et al., "Fairness of classifiers across skin tones in dermatology" (MICCAI 2020):
    # the images of the ISIC archive are mostly of light skin.
    found = _every(load_cohort(ham10000), 40)
    known = found.group != "unknown"
    assert 0.4 < known.mean() < 0.9
    assert (found.why_unknown[~known] == BLUISH).mean() > 0.8
    assert np.isin(found.group[known], ["light", "very light"]).mean() > 0.8
    assert set(found.group.tolist()) <= {*TONES, "unknown"}
