"""timm's networks as backbones, by the checksum of a file that was brought."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from common.backbones import get_backbone, timm_models
from common.backbones.reference import match_reference
from common.backbones.weights import WEIGHTS_VARIABLE, PublishedFile, file_sha256
from common.errors import SettingsError, WeightsError

# timm's own networks for tests: a third of a million weights.
NAMES = ("test_vit.r160_in1k", "test_efficientnet.r160_in1k")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path))
    timm_models.describe.cache_clear()
    yield tmp_path
    timm_models.describe.cache_clear()


def _bring(name: str, folder: Path) -> tuple[str, Any]:
    """Put random weights in place; give the backbone's name, and the network that has them."""
    timm: Any = timm_models.import_timm(name)
    torch.manual_seed(0)
    network = timm.create_model(name, pretrained=False).eval()
    path = folder / f"timm-{name}.safetensors"
    save_file(network.state_dict(), path)
    return f"timm:{name}@{file_sha256(path)}", network


@pytest.mark.parametrize("name", NAMES)
def test_features_are_what_timms_network_pools(name: str, folder: Path) -> None:
    base, network = _bring(name, folder)
    backbone = get_backbone(base)
    assert backbone.licence == "apache-2.0"
    assert backbone.transform.shape == (160, 160)
    x = torch.randn((2, 3, 160, 160), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted = network.forward_head(network.forward_features(x), pre_logits=True)
        found = backbone.load_network()(x)
    assert found.shape == (2, backbone.dimension)
    assert wanted.std() > 0
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    match = match_reference(f"{base}+flip")
    assert match.values == backbone.dimension
    assert match.difference < 1e-4


def test_the_fingerprint_is_of_the_file_that_the_name_tells() -> None:
    one, other = (get_backbone(f"timm:{NAMES[0]}@{digit * 64}") for digit in "01")
    assert one.weights_sha256 == "0" * 64
    assert one.fingerprint != other.fingerprint
    assert get_backbone(f"{one.name}+flip").fingerprint != one.fingerprint
    assert one.sides == (160, 160)  # of a vision transformer


def test_another_file_than_the_name_tells_is_refused(folder: Path) -> None:
    base, _ = _bring(NAMES[0], folder)
    path = folder / f"timm-{NAMES[0]}.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match=rf"{path}: sha256 is .*, expected {base[-64:]}"):
        get_backbone(base).load_network()


def test_a_file_of_another_network_is_refused(folder: Path) -> None:
    base, _ = _bring(NAMES[1], folder)
    path = folder / f"timm-{NAMES[0]}.safetensors"
    (folder / f"timm-{NAMES[1]}.safetensors").rename(path)
    with pytest.raises(WeightsError, match=rf"{path}: timm cannot load it as test_vit"):
        get_backbone(f"timm:{NAMES[0]}@{base[-64:]}").load_network()


def test_weights_that_are_not_finite_are_refused(folder: Path) -> None:
    _, network = _bring(NAMES[0], folder)
    network.cls_token.data[0, 0, 0] = torch.inf
    path = folder / f"timm-{NAMES[0]}.safetensors"
    save_file(network.state_dict(), path)
    with pytest.raises(WeightsError, match=rf"{path}: cls_token is not finite"):
        get_backbone(f"timm:{NAMES[0]}@{file_sha256(path)}").load_network()


def test_a_name_without_checksum_is_told_which(folder: Path) -> None:
    path = folder / f"timm-{NAMES[0]}.safetensors"
    with pytest.raises(
        SettingsError, match=rf"of the file https://\S+/model\.safetensors, as {path}"
    ):
        get_backbone(f"timm:{NAMES[0]}")
    base, _ = _bring(NAMES[0], folder)
    with pytest.raises(SettingsError, match=f"those here are {base}$"):
        get_backbone(f"timm:{NAMES[0]}")


def test_weights_that_are_not_here_are_fetched_from_timms_own_place() -> None:
    weights = get_backbone(f"timm:{NAMES[0]}@{'0' * 64}").weights
    assert isinstance(weights, PublishedFile)
    assert weights.url.endswith(f"/timm/{NAMES[0]}/resolve/main/model.safetensors")


@pytest.mark.parametrize("name", ["resnet999", "vit_base_patch16_224.nonsense", "test_vit4"])
def test_a_network_that_timm_does_not_publish_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=f"timm:{name}.*timm "):
        get_backbone(f"timm:{name}@{'0' * 64}")


def test_without_timm_what_brings_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(SettingsError, match=r"timm is not installed; .*'dermafed\[backbones\]'"):
        get_backbone(f"timm:{NAMES[0]}@{'1' * 64}")
