"""Edge widths: the blur of a photograph, told from steps whose blur is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import erf

from simulations.edges import edge_widths, inner_disc

SIDE = 224


def _step(width: float, contrast: float = 60.0, angle: float = 0.3) -> NDArray[np.float32]:
    """A straight step blurred by a Gaussian, in closed form."""
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    away = x * np.cos(angle) + y * np.sin(angle)
    step: NDArray[np.float32] = 20 + contrast * (1 + erf(away / (width * np.sqrt(2)))) / 2
    return step.astype(np.float32)


@pytest.mark.parametrize("width", [0.7, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("angle", [0.0, 0.3, np.pi / 2])
def test_the_width_of_a_blurred_step_is_the_standard_deviation_of_its_blur(
    width: float, angle: float
) -> None:
    # The sharpest tenth of noiseless pixels is a little sharper than the middle of the edge, and
    # pixels sample the gradient of a narrow step coarsely.
    assert edge_widths(_step(width, angle=angle), [0.0])[0] == pytest.approx(width, abs=0.2)


def test_a_further_blur_adds_its_variance() -> None:
    widths = edge_widths(_step(1.0), [0.0, 1.0, 2.0, 4.0])
    expected = np.sqrt(1.0 + np.square([0.0, 1.0, 2.0, 4.0]))
    np.testing.assert_allclose(widths, expected, rtol=0.04, atol=0.05)


@pytest.mark.parametrize("blur", [1.0, 2.0, 4.0])
def test_the_width_after_a_blur_is_that_of_the_blurred_picture(blur: float) -> None:
    rng = np.random.default_rng(3)
    blobs = 50 + 400 * gaussian_filter(rng.standard_normal((SIDE, SIDE)), 6.0)
    picture = np.where(blobs > 50, 70.0, 40.0).astype(np.float32)
    foretold = edge_widths(picture, [blur])[0]
    blurred = gaussian_filter(picture, blur)
    assert edge_widths(blurred, [0.0])[0] == pytest.approx(foretold, rel=0.03)


def test_contrast_and_exposure_do_not_matter() -> None:
    plain = edge_widths(_step(1.5), [0.0, 2.0])
    faint = edge_widths(_step(1.5, contrast=15.0) + np.float32(30), [0.0, 2.0])
    np.testing.assert_allclose(faint, plain, rtol=1e-3)


def test_grain_counts_little() -> None:
    grain = np.random.default_rng(0).normal(0.0, 2.0, (SIDE, SIDE))
    grainy = _step(2.0) + grain.astype(np.float32)
    assert edge_widths(grainy, [0.0])[0] == pytest.approx(2.0, rel=0.25)


def test_soft_borders_do_not_hide_the_sharp_edges_of_the_same_picture() -> None:
    both = _step(8.0)
    both[90:100] = 5.0
    assert edge_widths(both, [0.0])[0] < 1.5


def test_the_round_edge_of_the_dermatoscope_is_not_looked_at() -> None:
    framed = _step(4.0)
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    framed[np.hypot(x, y) > 0.52 * SIDE] = 0.0
    assert edge_widths(framed, [0.0])[0] == pytest.approx(4.0, abs=0.2)


def test_a_picture_without_edges_has_no_width() -> None:
    assert np.isnan(edge_widths(np.full((SIDE, SIDE), 50, dtype=np.float32), [0.0, 2.0])).all()


def test_the_disc_is_round_and_leaves_the_corners_out() -> None:
    disc = inner_disc(SIDE)
    assert disc.mean() == pytest.approx(np.pi * 0.46**2, rel=0.01)
    np.testing.assert_array_equal(disc, disc.T)
    np.testing.assert_array_equal(disc, disc[::-1])
    assert not disc[0].any()
