"""Features of augmented views: drawn by image and number alone, as training draws them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from client.training.augmentation import AugmentationSettings, strengths_of
from common.backbones import Backbone
from common.feature_cache import FeatureCache
from common.features import extract
from common.finetuning.settings import read_training
from common.transform import Transform
from simulations.view_features import ViewTransform, view_features

NONE = AugmentationSettings(
    flips=False,
    rotation=0.0,
    shift=0.0,
    zoom=0.0,
    brightness=0.0,
    contrast=0.0,
    saturation=0.0,
    hue=0.0,
    elastic=0.0,
)
SHIFTED = replace(NONE, brightness=0.4)


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Path, ...]:
    rng = np.random.default_rng(2)
    paths = []
    for number in range(5):
        path = tmp_path / f"{number}.png"
        Image.fromarray(rng.integers(60, 200, (8, 8, 3), dtype=np.uint8)).save(path)
        paths.append(path)
    return tuple(paths)


def test_a_view_without_changes_has_the_image_s_own_feature(
    pictures: tuple[Path, ...], tiny_backbone: Backbone, tmp_path: Path
) -> None:
    plain = extract(pictures, tiny_backbone, FeatureCache(tmp_path / "plain", tiny_backbone)).x
    views = view_features(pictures, 2, NONE, tiny_backbone, tmp_path / "views")
    assert views.shape == (2, 5, 12)
    for view in views:
        np.testing.assert_array_equal(view, plain)


def test_a_view_is_its_own_change_of_the_image(pictures: tuple[Path, ...]) -> None:
    path = pictures[0]
    plain = np.asarray(Image.open(path)).astype(float)
    factors = []
    for view in range(4):
        data = path.read_bytes()
        found = ViewTransform(8, 0.5, 0.5, SHIFTED, view).pixels(data, path).astype(float)
        tried = np.linspace(0.6, 1.4, 801)
        errors = [np.abs((plain * f).clip(0, 255) - found).max() for f in tried.tolist()]
        best = int(np.argmin(errors))
        assert errors[best] < 0.75
        factors.append(tried[best])
    assert len(set(factors)) == 4


def test_views_depend_on_image_and_number_only(
    pictures: tuple[Path, ...], tiny_backbone: Backbone, tmp_path: Path
) -> None:
    strengths = strengths_of(read_training(""))
    four = view_features(pictures, 4, strengths, tiny_backbone, tmp_path / "one")
    assert len({view.tobytes() for view in four}) == 4
    two = view_features(pictures[::-1], 2, strengths, tiny_backbone, tmp_path / "other")
    np.testing.assert_array_equal(two[:, ::-1], four[:2])
    # From the cache, by another name: nothing is computed.
    renamed = tuple(path.rename(path.with_stem(f"moved-{path.stem}")) for path in pictures)
    unloadable = replace(tiny_backbone, module="no_such_network")
    again = view_features(renamed, 4, strengths, unloadable, tmp_path / "one")
    np.testing.assert_array_equal(again, four)


def test_other_strengths_and_numbers_are_kept_apart() -> None:
    keys = {
        ViewTransform(8, 0.5, 0.5, strengths, view).key
        for strengths in (NONE, SHIFTED, replace(NONE, flips=True))
        for view in range(3)
    }
    assert len(keys) == 9
    assert Transform(8, 0.5, 0.5).key not in keys
