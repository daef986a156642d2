"""Features over the mirror image and crops are the means of what each view gives."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import common.backbones.registry
from common.backbones import Backbone, get_backbone
from common.backbones.averaged_views import five_crops
from common.backbones.torchvision_compat import import_torchvision
from common.errors import SettingsError
from common.feature_cache import FeatureCache
from common.features import extract

WriteImage = Callable[..., Path]


def _quarters(x: np.ndarray) -> np.ndarray:
    """Give the tiny network's features of one image ``(8, 8, 3)``."""
    scaled = (x / 255 - 0.5) / 0.5
    return np.asarray(scaled.reshape(2, 4, 2, 4, 3).mean(axis=(1, 3)).transpose(2, 0, 1).ravel())


@pytest.fixture
def tiny(tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> Backbone:
    monkeypatch.setattr(common.backbones.registry, "_BACKBONES", (tiny_backbone,))
    return tiny_backbone


@pytest.mark.parametrize("crops", [False, True])
@pytest.mark.parametrize("flip", [False, True])
def test_a_feature_is_the_mean_over_the_views(
    tiny: Backbone, tmp_path: Path, write_image: WriteImage, crops: bool, flip: bool
) -> None:
    path = write_image(tmp_path / "image.png", 1)
    side = 9 if crops else 8
    with Image.open(path) as image:
        left = (image.width - image.height) // 2
        square = image.crop((left, 0, left + image.height, image.height))
        pixels = np.asarray(square.resize((side, side), Image.Resampling.BICUBIC)).astype(float)
    views = [pixels]
    if crops:
        corners = [(0, 0), (0, 1), (1, 0), (1, 1)]
        views = [pixels[top : top + 8, left : left + 8] for top, left in [*corners, (0, 0)]]
    if flip:
        views += [view[:, ::-1] for view in views]
    backbone = get_backbone(f"tiny{'+crops:5' * crops}{'+flip' * flip}")
    found = extract([path], backbone, FeatureCache(tmp_path / "cache", backbone)).x[0]
    np.testing.assert_allclose(found, np.mean([_quarters(view) for view in views], 0), atol=1e-6)


def test_crops_are_torchvisions() -> None:
    import_torchvision()
    from torchvision.transforms import functional

    for height, width, crop in ((256, 256, (224, 224)), (297, 297, (260, 260)), (15, 22, (8, 13))):
        x = torch.rand((2, 3, height, width), generator=torch.Generator().manual_seed(0))
        left_above, right_above, left_below, right_below, centre = functional.five_crop(x, crop)
        wanted: list[Tensor] = [left_above, right_above, left_below, right_below, centre]
        found = five_crops(x, *crop)
        assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_the_centre_of_the_crops_is_what_torchvisions_weights_look_at() -> None:
    """Of 256 pixels, the five crops of 224."""
    plain, cropped = get_backbone("resnet18"), get_backbone("resnet18+crops:5")
    assert cropped.crop == (224, 224)
    assert cropped.transform.shape == (256, 256)
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (300, 300, 3), dtype=np.uint8))
    middle = cropped.transform.fit(picture)[16:240, 16:240]
    np.testing.assert_array_equal(plain.transform.fit(picture), middle)


def test_crops_of_a_view_have_its_shape(tiny: Backbone) -> None:
    backbone = get_backbone("tiny+crops:5+view:28x21")
    assert backbone.crop == (21, 28)
    assert backbone.transform.shape == (24, 32)
    assert replace(backbone, crop=None, name="tiny").transform != tiny.transform


def test_each_set_of_views_has_a_fingerprint_of_its_own(tiny: Backbone) -> None:
    changes = [
        "".join(some)
        for some in itertools.product(("", "+crops:5"), ("", "+flip"), ("", "+view:9x9"))
    ]
    prints = {get_backbone(f"tiny{change}").fingerprint for change in changes}
    assert len(prints) == len(changes) == 8


@pytest.mark.parametrize("change", ["+flip", "+crops:5", "+crops:5+flip"])
def test_averages_are_not_fine_tuned(change: str) -> None:
    backbone = get_backbone(f"efficientnet_lite0{change}")
    assert backbone.stages == 0
    with pytest.raises(SettingsError, match="is not fine-tuned"):
        backbone.load_trunk()
