"""Reference outputs: those in the project are timm's, and other outputs are refused."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from common.backbones import Backbone, get_backbone, packaged_lite
from common.backbones.reference import match_reference, reference_picture
from common.backbones.torchvision_compat import import_torchvision
from common.errors import WeightsError

STORED = Path(packaged_lite.__file__).with_name("reference.json")
LITES = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")


@pytest.fixture(scope="module")
def timm() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import_torchvision()
        return pytest.importorskip("timm")


def test_the_picture_is_the_same_on_every_machine() -> None:
    pixels = np.asarray(reference_picture())
    assert pixels.shape == (300, 400, 3)
    # By hand: 200 * 200 // 97 + 3 * 100, 200 * 100 // 61, (200 + 2 * 100) // 3 + 40, modulo 256.
    assert pixels[200, 100].tolist() == [(412 + 300) % 256, 327 % 256, (133 + 40) % 256]
    assert pixels[31, 31].tolist() == [(9 + 93) % 256, 15, 31]


@pytest.mark.parametrize("name", LITES)
def test_the_stored_scores_are_timms(name: str, timm: Any) -> None:
    network = timm.create_model(f"tf_{name}", pretrained=False).eval()
    backbone = get_backbone(name)
    packaged = torch.load(backbone.weights_path(), weights_only=True)
    network.load_state_dict(dict(zip(network.state_dict(), packaged.values(), strict=True)))
    config = network.default_cfg
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    pixels = torch.from_numpy(backbone.transform.fit(reference_picture()).copy())
    with torch.inference_mode():
        scores = network((pixels.permute(2, 0, 1)[None] / 255 - mean) / std)[0]
    stored = json.loads(STORED.read_text(encoding="utf-8"))[name]
    assert scores.argsort(descending=True)[:5].tolist() == stored["classes"][:5]
    assert len(set(stored["classes"])) == len(stored["logits"]) == 16
    np.testing.assert_allclose(scores[stored["classes"]], stored["logits"], atol=1e-3)


@pytest.mark.parametrize("name", LITES)
def test_packaged_networks_match(name: str) -> None:
    match = match_reference(f"{name}+flip")
    assert match.name == name
    assert match.values == 16
    assert match.difference < 1e-5


def test_a_network_of_other_weights_does_not_match(monkeypatch: pytest.MonkeyPatch) -> None:
    """As much as a wrong padding or normalisation would change."""
    plain = packaged_lite.load_network

    def load_network(name: str) -> torch.nn.Module:
        network = plain(name)
        first = next(network.parameters())
        first.data.mul_(1.01)
        return network

    monkeypatch.setattr(packaged_lite, "load_network", load_network)
    with pytest.raises(WeightsError, match=r"lite0: differs by .* from timm's scores"):
        match_reference("efficientnet_lite0")


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_what_is_no_number_does_not_match(monkeypatch: pytest.MonkeyPatch, number: float) -> None:
    import common.backbones.reference as module

    spoilt = np.full(1280, number, dtype=np.float32)
    monkeypatch.setattr(module, "picture_features", lambda _backbone, _picture: spoilt)
    with pytest.raises(WeightsError, match="differs by nan"):
        match_reference("efficientnet_lite0")


def test_a_backbone_without_a_reference_is_refused(
    tiny_backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("common.backbones.registry._BACKBONES", (tiny_backbone,))
    with pytest.raises(WeightsError, match="backbone tiny: has no reference output"):
        match_reference("tiny")


def test_the_weights_checksums_are_of_the_packaged_files() -> None:
    for name in LITES:
        backbone = get_backbone(name)
        content = backbone.weights_path().read_bytes()
        assert hashlib.sha256(content).hexdigest() == backbone.weights_sha256
