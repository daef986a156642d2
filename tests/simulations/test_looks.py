"""Looks: what is measured of a site is what was drawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import erf

from common.cohort import load_cohort
from common.errors import CohortError, ImageError
from simulations.looks import BLURS, SIDE, measure_looks
from tests.simulations.picture_cohort import Picture, write_pictures

# sRGB and, by Lindbloom's CIE colour calculator, L*a*b*.
RED = ((255, 0, 0), (53.24, 80.09, 67.20))
GREY = ((119, 119, 119), (50.03, 0.0, 0.0))


def _halves(left: tuple[int, ...], right: tuple[int, ...]) -> NDArray[np.uint8]:
    picture = np.empty((SIDE, SIDE, 3), dtype=np.uint8)
    picture[:, : SIDE // 2], picture[:, SIDE // 2 :] = left, right
    return picture


def _soft_step(width: float) -> NDArray[np.uint8]:
    away = (np.arange(SIDE) - (SIDE - 1) / 2) / (width * np.sqrt(2))
    row = np.rint(120 + 60 * erf(away)).astype(np.uint8)
    return np.broadcast_to(row[None, :, None], (SIDE, SIDE, 3)).copy()


def test_mean_and_spread_are_those_of_all_pixels_of_the_site(tmp_path: Path) -> None:
    # One picture half red, half grey, one all grey but for a strip outside of the inner circle.
    framed = _halves(GREY[0], GREY[0])
    framed[:8] = RED[0]
    pictures = [Picture("rosendahl", _halves(RED[0], GREY[0])), Picture("rosendahl", framed)]
    look = measure_looks(write_pictures(tmp_path, pictures))["rosendahl"]
    red, grey = np.array(RED[1]), np.array(GREY[1])
    np.testing.assert_allclose(look.mean, 0.25 * red + 0.75 * grey, atol=0.05)
    np.testing.assert_allclose(look.std, np.abs(red - grey) * np.sqrt(0.25 * 0.75), atol=0.05)
    assert look.images == 2


@pytest.mark.parametrize("width", [1.0, 2.0, 4.0])
def test_a_softer_site_has_wider_edges(tmp_path: Path, width: float) -> None:
    look = measure_looks(write_pictures(tmp_path, [Picture("molemax", _soft_step(width))]))
    widths = look["molemax"].edge_widths
    np.testing.assert_allclose(widths, np.sqrt(width**2 + np.square(BLURS)), rtol=0.05, atol=0.05)
    assert look["molemax"].sharpness == pytest.approx(1 / widths[0])


def test_a_few_blurred_pictures_do_not_make_a_site_blurred(tmp_path: Path) -> None:
    widths = [1.0] * 5 + [8.0] * 3
    cohort = write_pictures(tmp_path, [Picture("molemax", _soft_step(w)) for w in widths])
    assert measure_looks(cohort)["molemax"].edge_widths[0] == pytest.approx(1.0, abs=0.2)


def test_every_site_has_a_look_of_its_own_images(tmp_path: Path) -> None:
    pictures = [
        Picture("b", _halves(RED[0], RED[0])),
        Picture("a", _halves(GREY[0], (0, 0, 0))),
        Picture("b", _halves(RED[0], GREY[0])),
    ]
    told: list[tuple[int, int]] = []
    looks = measure_looks(write_pictures(tmp_path, pictures), lambda *at: told.append(at))
    assert list(looks) == ["a", "b"]
    assert [(look.site, look.images) for look in looks.values()] == [("a", 1), ("b", 2)]
    assert looks["a"].mean[0] == pytest.approx(GREY[1][0] / 2, abs=0.05)
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_picture_without_an_edge_counts_for_colour_only(tmp_path: Path) -> None:
    pictures = [Picture("a", _soft_step(2.0)), Picture("a", _halves(GREY[0], GREY[0]))]
    look = measure_looks(write_pictures(tmp_path, pictures))["a"]
    assert look.images == 2
    assert look.edge_widths[0] == pytest.approx(2.0, abs=0.2)


def test_a_site_without_any_edge_is_refused(tmp_path: Path) -> None:
    pictures = [Picture("a", _soft_step(2.0)), Picture("b", _halves(GREY[0], GREY[0]))]
    with pytest.raises(CohortError, match=r"site b: none of 1 images has an edge"):
        measure_looks(write_pictures(tmp_path, pictures))


def _noisy(count: int) -> list[Picture]:
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((count, SIDE, SIDE, 3))
    soft = gaussian_filter(noise, (0, 3, 3, 0)) * 300 + rng.uniform(80, 180, (count, 1, 1, 3))
    return [Picture("ab"[i % 2], pixels) for i, pixels in enumerate(soft.clip(0, 255).astype("u1"))]


def test_a_sample_does_not_depend_on_the_order_of_the_table(tmp_path: Path) -> None:
    cohort = write_pictures(tmp_path, _noisy(12))
    order = np.random.default_rng(5).permutation(len(cohort))
    shuffled = replace(
        cohort,
        path=tuple(cohort.path[i] for i in order),
        image_id=cohort.image_id[order],
        site=cohort.site[order],
    )
    first = measure_looks(cohort, at_most=3)
    assert {look.images for look in first.values()} == {3}
    assert measure_looks(shuffled, at_most=3) == first
    assert measure_looks(cohort, at_most=3, seed=1) != first


def test_a_cohort_without_sites_is_refused(tmp_path: Path) -> None:
    cohort = replace(write_pictures(tmp_path, _noisy(2)), sites_known=False)
    with pytest.raises(CohortError, match="does not tell the acquisition sites"):
        measure_looks(cohort)


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    cohort = write_pictures(tmp_path, _noisy(4))
    cohort.path[2].write_bytes(cohort.path[2].read_bytes()[:300])
    with pytest.raises(ImageError, match=r"ISIC_0002\.png: damaged or truncated"):
        measure_looks(cohort)


def test_the_drawn_cameras_are_told_apart(cohort: Path) -> None:
    # The drawn cameras' casts and lenses are known: slides faded to orange, a bluish soft video
    # system, a sharp and warm practice.
    looks = measure_looks(load_cohort(cohort), at_most=40)
    assert max(looks.values(), key=lambda look: look.mean[1]).site == "vienna_dias"
    assert min(looks.values(), key=lambda look: look.mean[2]).site == "vidir_molemax"
    assert max(looks.values(), key=lambda look: look.sharpness).site == "rosendahl"


def test_the_red_site_of_ham10000_is_seen(ham10000: Path) -> None:
    # MoleMax pictures are pink throughout, as anyone sees who looks at them.
    looks = measure_looks(load_cohort(ham10000), at_most=25)
    assert len(looks) == 4
    others = [look.mean[1] for site, look in looks.items() if site != "vidir_molemax"]
    assert looks["vidir_molemax"].mean[1] > max(others) + 8
    assert all(0.3 < look.edge_widths[0] < 4 for look in looks.values())
