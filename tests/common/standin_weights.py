"""Stand-ins for published weights files: torchvision's own networks, with random weights."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import common.backbones.registry
from common.backbones import Backbone, get_backbone
from common.backbones.torchvision_compat import import_torchvision
from common.backbones.weights import file_sha256

State = dict[str, Tensor]


def random_state(name: str) -> State:
    """Give tensors as torchvision's file of a network names them."""
    models: Any = import_torchvision().models
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    torch.manual_seed(0)
    state: State = dict(models.get_model(name, weights=None, **options).state_dict())
    generator = torch.Generator().manual_seed(1)
    for key, tensor in state.items():
        # Maps that fade away from layer to layer would compare nothing; means and variances of 0
        # and 1 would hide a norm that is not applied.
        if tensor.dim() == 4:
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=generator)
        if key.endswith("running_mean"):
            tensor.uniform_(-0.1, 0.1, generator=generator)
        if key.endswith("running_var"):
            tensor.uniform_(0.5, 1.5, generator=generator)
    if name == "densenet121":
        # torchvision's file is of the time when a module's name could have dots.
        old = re.compile(r"(denselayer\d+\.(?:norm|conv))([12]\.)")
        state = {old.sub(r"\1.\2", key): tensor for key, tensor in state.items()}
        # That time did not count batches either.
        state = {key: v for key, v in state.items() if not key.endswith("num_batches_tracked")}
    return state


def torchvisions_own(name: str, state: State, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """Let torchvision build a network from these tensors, all by itself."""
    models: Any = import_torchvision().models
    weights = models.get_model_weights(name)["IMAGENET1K_V1"]
    with monkeypatch.context() as patch:
        patch.setattr(type(weights), "get_state_dict", lambda _self, **_: dict(state))
        network: nn.Module = models.get_model(name, weights=weights)
    return network.eval().requires_grad_(False)


def pooled(name: str, network: nn.Module) -> Callable[[Tensor], Tensor]:
    """Give what a whole network has, on the way to its scores, behind its pooling."""
    where = {
        "vgg16": "features",
        "densenet121": "features",
        "convnext_tiny": "classifier.1",
        "vit_b_16": "encoder",
        "swin_t": "flatten",
    }.get(name, "avgpool")
    seen: list[Tensor] = []
    network.get_submodule(where).register_forward_hook(lambda _m, _x, y: seen.append(y.clone()))

    def features(x: Tensor) -> Tensor:
        seen.clear()
        network(x)
        maps = seen[0]
        if name == "vit_b_16":
            return maps[:, 0]
        if name == "densenet121":
            maps = maps.relu()
        return maps.mean((2, 3)) if maps.dim() == 4 else maps

    return features


def stand_in(name: str, content: bytes | State, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a file in the place of a backbone's weights, and register its checksum as the right one.

    The folder of weights must have been set already.
    """
    backbone = get_backbone(name)
    assert backbone.weights is not None
    path = backbone.weights.locate()
    assert path is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    register(replace(backbone, weights_sha256=file_sha256(path)), monkeypatch)
    return path


def register(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the registry know a backbone instead of its namesake."""
    known = common.backbones.registry._BACKBONES
    changed = tuple(backbone if one.name == backbone.name else one for one in known)
    monkeypatch.setattr(common.backbones.registry, "_BACKBONES", changed)
