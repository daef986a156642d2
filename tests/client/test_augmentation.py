"""Views depend on an image and its seed alone, and go as far as the settings let them."""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from client.training.augmentation import (
    ELASTIC_SIGMA,
    Augmentation,
    AugmentationSettings,
    displacement,
    turn_hue,
    view_grid,
)
from common.backbones.torchvision_compat import import_torchvision
from common.errors import SettingsError

NONE: dict[str, Any] = {
    **dict.fromkeys(("rotation", "shift", "zoom"), 0.0),
    **dict.fromkeys(("brightness", "contrast", "saturation", "hue", "elastic"), 0.0),
    "flips": False,
}
GEOMETRY: dict[str, Any] = {"rotation": 180.0, "shift": 0.1, "zoom": 0.2, "elastic": 50.0}
COLOUR: dict[str, Any] = {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.05}
EVERYTHING: dict[str, Any] = {"flips": True, **GEOMETRY, **COLOUR}
SEEDS = range(300)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads of such small operations wait for each other on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def augmentation(**changes: Any) -> Augmentation:
    return Augmentation(AugmentationSettings(**{**NONE, **changes}))


def noise(n: int, height: int = 36, width: int = 48) -> torch.Tensor:
    rng = np.random.default_rng(7)
    return torch.from_numpy(rng.integers(0, 256, (n, 3, height, width), dtype=np.uint8))


def views_of(image: torch.Tensor, **changes: Any) -> torch.Tensor:
    return augmentation(**changes)(image.expand(len(SEEDS), *image.shape), SEEDS)


def test_a_view_depends_on_its_seed_and_not_on_its_batch() -> None:
    augment = augmentation(**EVERYTHING)
    images = noise(5)
    together = augment(images, [3, 1, 4, 1, 5])
    assert together.dtype == torch.uint8
    alone = [augment(images[[row]], [seed])[0] for row, seed in enumerate([3, 1, 4, 1, 5])]
    assert torch.equal(together, torch.stack(alone))
    backwards = augment(images.flip(0), [5, 1, 4, 1, 3])
    assert torch.equal(together, backwards.flip(0))


def test_other_seeds_give_other_views_also_beyond_32_bits() -> None:
    image = noise(1)[0]
    seeds = [0, 1, 2**32, 2**64 + 1]
    views = augmentation(**EVERYTHING)(image.expand(4, *image.shape), seeds)
    assert len({view.numpy().tobytes() for view in views}) == 4


def _numpys_state() -> str:
    state = np.random.get_state(legacy=False)["state"]  # noqa: NPY002
    return f"{state['pos']} {state['key'].tolist()}"


def test_augmenting_leaves_the_images_and_every_global_generator_alone() -> None:
    images = noise(3)
    before = images.clone(), torch.get_rng_state(), _numpys_state()
    augmentation(**EVERYTHING)(images, [0, 1, 2])
    assert torch.equal(images, before[0])
    assert torch.equal(torch.get_rng_state(), before[1])
    assert _numpys_state() == before[2]


def test_without_any_change_a_view_is_its_image() -> None:
    images = noise(3)
    assert torch.equal(augmentation()(images, [0, 1, 2]), images)


def test_each_image_needs_a_seed() -> None:
    with pytest.raises(ValueError, match="zip"):
        augmentation()(noise(3), [0, 1])


def test_pixels_on_another_scale_are_refused() -> None:
    with pytest.raises(TypeError, match=r"uint8, not of torch\.float32"):
        augmentation()(noise(1).float(), [0])


def test_flips_give_the_four_mirror_images_alike() -> None:
    image = noise(1)[0]
    four = [image, image.flip(2), image.flip(1), image.flip(1, 2)]
    views = views_of(image, flips=True)
    found = [sum(torch.equal(view, mirrored) for view in views) for mirrored in four]
    assert sum(found) == len(SEEDS)
    assert min(found) > len(SEEDS) / 4 * 0.7


def dot(across: int, down: int) -> torch.Tensor:
    """A square image with one white block, off its centre by so many pixels."""
    image = torch.zeros(3, 97, 97, dtype=torch.uint8)
    image[:, 48 + down - 2 : 48 + down + 3, 48 + across - 2 : 48 + across + 3] = 255
    return image


def centres(views: torch.Tensor) -> torch.Tensor:
    """Where the white block's centre is: across and down from the image's centre, in pixels."""
    mass = views[:, 0].double()
    axis = torch.arange(97, dtype=torch.float64) - 48
    across, down = (mass * axis).sum((1, 2)), (mass * axis[:, None]).sum((1, 2))
    return torch.stack([across, down], 1) / mass.sum((1, 2))[:, None]


def test_turns_go_as_far_as_the_rotation_both_ways() -> None:
    found = centres(views_of(dot(20, 0), rotation=30.0))
    degrees = torch.rad2deg(torch.atan2(found[:, 1], found[:, 0]))
    assert -31 < degrees.min() < -28
    assert 28 < degrees.max() < 31
    assert torch.allclose(found.norm(dim=1), torch.tensor(20.0).double(), atol=0.3)


def test_shifts_go_as_far_as_their_share_of_the_side_both_ways() -> None:
    found = centres(views_of(dot(0, 0), shift=0.1))
    for axis in (0, 1):
        assert -10 < found[:, axis].min() < -9.3
        assert 9.3 < found[:, axis].max() < 10


def test_scales_go_as_far_as_the_zoom_both_ways() -> None:
    found = centres(views_of(dot(20, 0), zoom=0.2))[:, 0] / 20
    assert 0.78 < found.min() < 0.82
    assert 1.18 < found.max() < 1.22


def test_moving_brings_in_no_colour_that_the_image_lacks() -> None:
    image = (noise(1)[0] // 8) + 180
    views = views_of(image, flips=True, **GEOMETRY)
    assert int(views.min()) >= int(image.min())
    assert int(views.max()) <= int(image.max())


def test_the_affine_map_is_torchvisions() -> None:
    import_torchvision()
    from torchvision.transforms.v2 import InterpolationMode, functional

    image = noise(1, 60, 80).float()
    for angle, scale in [(0.0, 1.0), (25.0, 0.9), (-140.0, 1.2), (90.0, 0.8)]:
        grid = view_grid((60, 80), angle=angle, shift=(0.05, -0.1), scale=scale)
        mine = torch.nn.functional.grid_sample(image, grid, align_corners=False)
        size, bilinear = [4.0, -6.0], InterpolationMode.BILINEAR
        theirs = functional.affine(image, angle, size, scale, [0.0, 0.0], bilinear)
        assert torch.allclose(mine, theirs, atol=0.05)


def brightness_of(view: torch.Tensor) -> float:
    return float(view.double().mean())


def contrast_of(view: torch.Tensor) -> float:
    return float(view[0].double().std())


def saturation_of(view: torch.Tensor) -> float:
    return float((view[0].double() - view[2].double()).mean())


@pytest.mark.parametrize(
    ("change", "measure"),
    [
        ("brightness", brightness_of),
        ("contrast", contrast_of),
        ("saturation", saturation_of),
    ],
)
def test_colour_factors_lie_within_one_plus_and_minus_the_setting(
    change: str, measure: Callable[[torch.Tensor], float]
) -> None:
    # Bright enough to measure a factor, far enough from both ends of the scale to clip none.
    image = noise(1)[0] // 4 + torch.tensor([110, 70, 50], dtype=torch.uint8)[:, None, None]
    views = views_of(image, **{change: 0.2})
    factors = [measure(view) / measure(image) for view in views]
    assert 0.79 < min(factors) < 0.82
    assert 1.18 < max(factors) < 1.21


def test_values_are_rounded_to_the_nearest() -> None:
    ramp = torch.arange(201, dtype=torch.uint8).expand(3, 4, 201)
    for view in views_of(ramp, brightness=0.2)[:20]:
        _, offset = np.polyfit(ramp[0, 0].numpy(), view[0, 0].numpy(), 1)
        assert abs(offset) < 0.25


SKIN = [(0.8, 0.55, 0.5), (0.6, 0.35, 0.25), (0.9, 0.5, 0.6), (0.3, 0.15, 0.1)]


@pytest.mark.parametrize("rgb", SKIN)
@pytest.mark.parametrize("turn", [-0.05, -0.02, 0.02, 0.05])
def test_the_hue_of_skin_turns_about_as_far_as_in_hsv(
    rgb: tuple[float, float, float], turn: float
) -> None:
    red, green, blue = turn_hue(torch.tensor(rgb).reshape(3, 1, 1), turn).flatten().tolist()
    found = colorsys.rgb_to_hsv(red, green, blue)[0] - colorsys.rgb_to_hsv(*rgb)[0]
    assert 0.9 < ((found + 0.5) % 1.0 - 0.5) / turn < 1.6


def test_a_turn_of_the_hue_keeps_luma_and_greys() -> None:
    image = noise(1)[0] / 255.0 * 0.4 + 0.3
    luma = torch.tensor([0.299, 0.587, 0.114])
    turned = turn_hue(image, 0.1)
    assert not torch.allclose(turned, image, atol=0.05)
    assert torch.allclose(
        torch.einsum("c,chw->hw", luma, turned), torch.einsum("c,chw->hw", luma, image), atol=1e-5
    )
    grey = image[:1].expand(3, -1, -1)
    assert torch.allclose(turn_hue(grey, 0.1), grey, atol=1e-3)
    assert torch.allclose(turn_hue(turned, -0.1), image, atol=1e-5)


def test_hues_turn_both_ways_up_to_the_setting() -> None:
    image = torch.tensor([150, 100, 90], dtype=torch.uint8)[:, None, None].expand(3, 4, 4)
    views = views_of(image, hue=0.05)
    turns = [turn_hue(image / 255.0, turn) * 255.0 for turn in (-0.05, 0.05)]
    blues = views[:, 2, 0, 0]
    assert int(blues.min()) == round(float(min(turn[2, 0, 0] for turn in turns)))
    assert int(blues.max()) == round(float(max(turn[2, 0, 0] for turn in turns)))


def test_switching_colours_off_leaves_the_geometry_of_a_seed() -> None:
    image = noise(1)[0] // 2 + 40
    plain = augmentation(flips=True, **GEOMETRY)(image[None], [11]).double()
    bright = augmentation(flips=True, **GEOMETRY, brightness=0.2)(image[None], [11]).double()
    factor = bright.mean() / plain.mean()
    assert abs(factor - 1.0) > 0.01
    assert torch.allclose(bright, plain * factor, atol=1.6)


def test_elastic_displacements_are_uniform_noise_smoothed_by_a_gaussian() -> None:
    height, width = 60, 80
    found = displacement((height, width), 30.0, np.random.default_rng(5))
    drawn = np.random.default_rng(5).random((2, height, width), dtype=np.float32) * 2.0 - 1.0
    for axis, size in enumerate((width, height)):
        smooth = gaussian_filter(
            drawn[axis].astype(np.float64), ELASTIC_SIGMA, mode="mirror", truncate=4.0
        )
        assert np.allclose(found[0, :, :, axis].numpy(), 30.0 * smooth / size, atol=1e-5)


def test_elastic_changes_move_pixels_a_little_and_each_seed_its_own_way() -> None:
    ramp = torch.arange(0, 240, 3, dtype=torch.uint8).expand(3, 60, 80)
    moved = augmentation(elastic=100.0)(ramp.expand(2, 3, 60, 80), [0, 1]).double()
    pixels = (moved - ramp) / 3.0
    # Half of alpha times the deviation of uniform noise under a Gaussian of 5 pixels.
    expected = 50.0 / np.sqrt(3.0) / (2.0 * np.sqrt(np.pi) * ELASTIC_SIGMA)
    assert 0.6 < float(pixels.std()) / expected < 1.4
    assert float((moved[0] - moved[1]).abs().mean()) > expected


def test_elastic_changes_need_images_larger_than_what_smooths() -> None:
    with pytest.raises(SettingsError, match=r"elastic: images of 24x18 pixels.*elastic=0"):
        augmentation(elastic=10.0)(noise(1, 18, 24), [0])
