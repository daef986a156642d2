"""Shifted features: kept apart in the cache by look, and nothing computed twice."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import common.features
from common.backbones import Backbone
from common.cohort import Cohort
from common.errors import CohortError, ImageError
from common.feature_cache import FeatureCache
from common.features import extract
from common.transform import Transform
from simulations.shifted_features import LookTransform, Shift, shift_between, shifted_features
from tests.simulations.picture_cohort import (
    LOOKS,
    MODERN,
    MOLEMAX,
    ROSENDAHL,
    Picture,
    write_pictures,
)

NONE = Shift((1.0, 1.0, 1.0), (0.0, 0.0, 0.0), 0.0)


@pytest.fixture
def drawn(tmp_path: Path) -> Cohort:
    rng = np.random.default_rng(4)
    sites = ["rosendahl"] * 5 + ["vidir_molemax"] * 3 + ["vidir_modern"] * 3
    pictures = [Picture(site, rng.integers(60, 200, (24, 32, 3), dtype=np.uint8)) for site in sites]
    return write_pictures(tmp_path / "drawn", pictures)


TARGETS = np.array(
    [
        *("vidir_molemax", "rosendahl", "vidir_modern", "vidir_molemax", "rosendahl"),
        *("rosendahl", "vidir_molemax", "vidir_modern"),
        *("vidir_modern", "vidir_molemax", "rosendahl"),
    ]
)


def _tiny(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The tiny network by hand: the mean of each quarter of each channel."""
    x = (pixels / 255 - 0.5) / 0.5
    quarters: NDArray[np.float64] = x.reshape(2, 4, 2, 4, 3).mean(axis=(1, 3))
    return quarters.transpose(2, 0, 1).ravel()


def test_every_image_has_the_feature_of_its_own_shift_in_the_cohort_s_order(
    drawn: Cohort, tiny_backbone: Backbone, tmp_path: Path
) -> None:
    x = shifted_features(drawn, TARGETS, LOOKS, tiny_backbone, tmp_path / "cache")
    assert x.shape == (11, 12)
    assert x.dtype == np.float32
    for row, path in enumerate(drawn.path):
        here, there = str(drawn.site[row]), str(TARGETS[row])
        shift = NONE if here == there else shift_between(LOOKS[here], LOOKS[there])
        pixels = LookTransform(8, 0.5, 0.5, shift).pixels(path.read_bytes(), path)
        np.testing.assert_allclose(x[row], _tiny(pixels), atol=1e-6)


def test_a_shifted_image_is_cropped_and_resized_as_the_backbone_wants(
    drawn: Cohort, tiny_backbone: Backbone, tmp_path: Path
) -> None:
    plain = Transform(8, 0.5, 0.5, resize=10, interpolation="bilinear")
    backbone = replace(tiny_backbone, transform=plain)
    x = shifted_features(drawn, TARGETS, LOOKS, backbone, tmp_path / "cache")
    for row in np.flatnonzero(drawn.site != TARGETS):
        path = drawn.path[row]
        shift = shift_between(LOOKS[str(drawn.site[row])], LOOKS[str(TARGETS[row])])
        look = LookTransform(8, 0.5, 0.5, shift, resize=10, interpolation="bilinear")
        pixels = look.pixels(path.read_bytes(), path)
        np.testing.assert_allclose(x[row], _tiny(pixels), atol=1e-6)


def test_a_blur_is_of_the_resized_image_not_of_its_middle(drawn: Cohort) -> None:
    path, blurred = drawn.path[0], replace(NONE, blur=40.0)
    found = LookTransform(8, 0.5, 0.5, blurred, resize=10).pixels(path.read_bytes(), path)
    middle = io.BytesIO()
    plain = Transform(8, 0.5, 0.5, resize=10).pixels(path.read_bytes(), path)
    Image.fromarray(plain).save(middle, "PNG")
    wider = replace(NONE, blur=40.0 * 10 / 8)
    wanted = LookTransform(8, 0.5, 0.5, wider).pixels(middle.getvalue(), path)
    np.testing.assert_array_equal(found, wanted)


def test_an_image_that_keeps_its_site_s_look_takes_the_plain_feature(
    drawn: Cohort, tiny_backbone: Backbone, tmp_path: Path
) -> None:
    plain = extract(drawn.path, tiny_backbone, FeatureCache(tmp_path / "cache", tiny_backbone))
    # Nothing is computed: a network that cannot be loaded does not matter.
    unloadable = replace(tiny_backbone, module="no_such_network")
    x = shifted_features(drawn, drawn.site, LOOKS, unloadable, tmp_path / "cache")
    np.testing.assert_array_equal(x, plain.x)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_the_cache_keeps_every_pair_of_looks_apart(
    drawn: Cohort, tiny_backbone: Backbone, tmp_path: Path
) -> None:
    arguments = (drawn, TARGETS, LOOKS, tiny_backbone, tmp_path / "cache")
    x = shifted_features(*arguments)
    assert len(list((tmp_path / "cache").iterdir())) == 1 + 6
    unloadable = replace(tiny_backbone, module="no_such_network")
    again = shifted_features(drawn, TARGETS, LOOKS, unloadable, tmp_path / "cache")
    np.testing.assert_array_equal(again, x)
    other = {**LOOKS, "vidir_molemax": replace(MOLEMAX, mean=(45.0, 30.0, 20.0))}
    changed = shifted_features(drawn, TARGETS, other, tiny_backbone, tmp_path / "cache")
    concerned = (drawn.site != TARGETS) & (
        (TARGETS == "vidir_molemax") | (drawn.site == "vidir_molemax")
    )
    np.testing.assert_array_equal((changed != x).any(axis=1), concerned)


def test_progress_runs_over_the_whole_cohort(
    drawn: Cohort, tiny_backbone: Backbone, tmp_path: Path
) -> None:
    told: list[tuple[int, int]] = []
    shifted_features(
        drawn, TARGETS, LOOKS, tiny_backbone, tmp_path / "cache", lambda *at: told.append(at)
    )
    assert told == sorted(told)
    assert told[-1] == (11, 11)
    assert {total for _, total in told} == {11}


def test_an_interruption_keeps_what_was_done(
    drawn: Cohort, tiny_backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    plain: Callable[..., NDArray[np.uint8]] = Transform.pixels

    def counting(self: Transform, data: bytes, source: Path) -> NDArray[np.uint8]:
        read.append(source)
        return plain(self, data, source)

    def interrupt(done: int, _total: int) -> None:
        if done >= 8:
            raise KeyboardInterrupt

    monkeypatch.setattr(common.features, "_IMAGES_A_COMMIT", 1)
    monkeypatch.setattr(Transform, "pixels", counting)
    arguments = (drawn, TARGETS, LOOKS, tiny_backbone, tmp_path / "cache")
    with pytest.raises(KeyboardInterrupt):
        shifted_features(*arguments, interrupt)
    assert len(read) >= 8
    read.clear()
    shifted_features(*arguments)
    assert len(read) <= 3


def test_a_site_without_a_look_is_refused(
    drawn: Cohort, tiny_backbone: Backbone, tmp_path: Path
) -> None:
    strange = ["elsewhere", *TARGETS[1:]]
    with pytest.raises(CohortError, match="no look was measured for site elsewhere"):
        shifted_features(drawn, strange, LOOKS, tiny_backbone, tmp_path)
    fewer = {"rosendahl": ROSENDAHL, "vidir_modern": MODERN}
    with pytest.raises(CohortError, match="no look was measured for site vidir_molemax"):
        shifted_features(drawn, ["rosendahl"] * 11, fewer, tiny_backbone, tmp_path)


def test_a_target_too_few_is_refused(
    drawn: Cohort, tiny_backbone: Backbone, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"\(10,\) targets for 11 images"):
        shifted_features(drawn, TARGETS[1:], LOOKS, tiny_backbone, tmp_path)


def test_a_damaged_image_is_named(drawn: Cohort, tiny_backbone: Backbone, tmp_path: Path) -> None:
    drawn.path[6].write_bytes(drawn.path[6].read_bytes()[:100])
    with pytest.raises(ImageError, match=r"ISIC_0006\.png: damaged or truncated"):
        shifted_features(drawn, TARGETS, LOOKS, tiny_backbone, tmp_path / "cache")
