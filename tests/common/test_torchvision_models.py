"""torchvision's networks as backbones: what torchvision itself computes, without the classifier."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from common.backbones import Backbone, backbone_names, get_backbone
from common.backbones.reference import match_reference, reference_picture
from common.backbones.torchvision_compat import import_torchvision
from common.backbones.torchvision_models import build, leave_out_classifier
from common.backbones.weights import WEIGHTS_VARIABLE, PublishedFile
from common.errors import WeightsError
from tests.common.standin_weights import pooled, random_state, stand_in, torchvisions_own

NAMES = tuple(name for name in backbone_names() if not name.startswith("efficientnet_lite"))
# What is peculiar to them: no norm to fold; old names; auxiliary classifiers; a deep classifier.
SMALL = ("resnet18", "densenet121", "googlenet", "mobilenet_v3_large")
LARGE = tuple(name for name in NAMES if name not in SMALL)


@pytest.fixture(autouse=True)
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path / "weights"))
    yield tmp_path / "weights"
    for path in tmp_path.rglob("*.pth"):
        path.unlink()  # pytest keeps the folders of its last runs


def _weights_of(name: str) -> Any:
    return import_torchvision().models.get_model_weights(name)["IMAGENET1K_V1"]


def _published(backbone: Backbone) -> PublishedFile:
    assert isinstance(backbone.weights, PublishedFile)
    return backbone.weights


def test_there_are_eleven() -> None:
    assert len(NAMES) == 11


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_are_those_that_torchvision_publishes(name: str) -> None:
    backbone = get_backbone(name)
    published = _published(backbone)
    assert published.url == _weights_of(name).url
    assert published.url.endswith(f"/{published.name}")
    # torchvision checks a file by the digits in its name.
    assert published.name.endswith(f"-{backbone.weights_sha256[:8]}.pth")
    assert len(backbone.weights_sha256) == 64


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [(600, 450), (301, 417), (256, 256), (40, 31)])
def test_the_transform_is_that_of_torchvisions_weights(name: str, size: tuple[int, int]) -> None:
    theirs, ours = _weights_of(name).transforms(), get_backbone(name).transform
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    pixels = torch.from_numpy(ours.fit(picture).copy()).permute(2, 0, 1)[None]
    torch.testing.assert_close(ours.normalise(pixels / 255)[0], theirs(picture))


@pytest.mark.parametrize("name", NAMES)
def test_each_takes_the_sides_and_gives_the_dimension_that_are_told(name: str) -> None:
    backbone = get_backbone(name)
    smallest, largest = backbone.sides
    needed = max(_weights_of(name).meta["min_size"])
    assert smallest >= needed or name == "swin_t"  # which takes others than it was trained on
    with torch.device("meta"):
        network = build(name)
        leave_out_classifier(name, network)
        for side in {smallest, max(backbone.transform.shape), min(largest, 320)}:
            features = network.eval()(torch.zeros(2, 3, side, side))
            assert features.shape == (2, backbone.dimension)


@pytest.mark.parametrize(
    "name", [*SMALL, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)]
)
def test_features_are_what_torchvisions_own_network_pools(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = random_state(name)
    stand_in(name, state, monkeypatch)
    backbone = get_backbone(name)
    network = backbone.load_network()
    assert not network.training
    assert not any(parameter.is_meta for parameter in network.parameters())
    assert not any(buffer.is_meta for buffer in network.buffers())
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (300, 400, 3), dtype=np.uint8))
    theirs = _weights_of(name).transforms()
    x = torch.stack([theirs(picture) for picture in (reference_picture(), noise)])
    with torch.inference_mode():
        wanted = pooled(name, torchvisions_own(name, state, monkeypatch))(x)
        found = network(x)
    assert found.shape == (2, backbone.dimension)
    assert (wanted[0] - wanted[1]).abs().max() > 1e-3 * wanted.abs().max()
    assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()
    match = match_reference(name)
    assert match.values == backbone.dimension
    assert match.difference < 1e-4
    assert match.against == "torchvision's own network"


def test_a_network_that_gives_other_features_is_not_believed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stand_in("resnet18", random_state("resnet18"), monkeypatch)
    plain = Backbone.load_network

    def load_network(self: Backbone) -> torch.nn.Module:
        network = plain(self)
        network.get_submodule("layer4.1.bn2").eps = 0.1  # type: ignore[assignment]
        return network

    monkeypatch.setattr(Backbone, "load_network", load_network)
    match = r"backbone resnet18: differs by \S+ from torchvision's own network.* do not use it"
    with pytest.raises(WeightsError, match=match):
        match_reference("resnet18+flip")


def _without(state: dict[str, torch.Tensor]) -> None:
    del state["layer1.0.conv1.weight"]


def _besides(state: dict[str, torch.Tensor]) -> None:
    state["layer9.weight"] = torch.zeros(1)


def _of_another_shape(state: dict[str, torch.Tensor]) -> None:
    state["fc.weight"] = state["fc.weight"][:10]


def _of_another_kind(state: dict[str, torch.Tensor]) -> None:
    state["fc.bias"] = state["fc.bias"].double()


def _not_finite(state: dict[str, torch.Tensor]) -> None:
    state["layer4.0.bn1.running_var"][3] = torch.nan


@pytest.fixture(scope="module")
def resnet() -> dict[str, torch.Tensor]:
    return random_state("resnet18")


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (_without, r"lacks layer1\.0\.conv1\.weight; it is another network's"),
        (_besides, r"has, besides what the network takes, layer9\.weight"),
        (_of_another_shape, r"fc\.weight is torch\.float32 of \(10, 512\), expected .*\(1000, 512"),
        (_of_another_kind, r"fc\.bias is torch\.float64 of"),
        (_not_finite, r"layer4\.0\.bn1\.running_var is not finite"),
    ],
)
def test_tensors_of_another_network_are_refused_by_name(
    resnet: dict[str, torch.Tensor],
    monkeypatch: pytest.MonkeyPatch,
    spoil: Any,
    match: str,
) -> None:
    state = {name: tensor.clone() for name, tensor in resnet.items()}
    spoil(state)
    path = stand_in("resnet18", state, monkeypatch)
    with pytest.raises(WeightsError, match=rf"{path}: {match}"):
        get_backbone("resnet18").load_network()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and then nothing"])
def test_what_is_no_file_of_weights_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    path = stand_in("resnet18", content, monkeypatch)
    with pytest.raises(WeightsError, match=f"{path}: cannot be read as weights"):
        get_backbone("resnet18").load_network()
