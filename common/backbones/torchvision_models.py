"""torchvision's networks, built by torchvision, without their classifier.

A feature is what enters the classifier: the mean over places of the last maps, for a vision
transformer the class token. VGG-16 alone enters its classifier with 7 x 7 places, flattened: 25,088
numbers, and two layers of 4,096 that hold nine tenths of its weights. Its last maps are averaged
over places instead, as the other networks' are.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from common.backbones.reference import Reference
from common.backbones.registry import get_backbone
from common.backbones.states import assign, for_extraction, read_state
from common.backbones.torchvision_compat import import_torchvision

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from PIL import Image

# What is left out of each network.
_CLASSIFIERS: Final = {
    "resnet18": "fc",
    "resnet50": "fc",
    "vgg16": "classifier",
    "densenet121": "classifier",
    "efficientnet_b0": "classifier",
    "inception_v3": "fc",
    "googlenet": "fc",
    "mobilenet_v3_large": "classifier",
    "convnext_tiny": "classifier.2",  # of norm, flatten and the scores
    "vit_b_16": "heads",
    "swin_t": "head",
}
# The weights files hold the auxiliary classifiers, too, and were trained on pixels from -1 to 1:
# `transform_input` turns torchvision's normalisation into that one.
_INCEPTION: Final = {"aux_logits": True, "transform_input": True, "init_weights": False}
_OPTIONS: Final[Mapping[str, dict[str, bool]]] = {
    "googlenet": _INCEPTION,
    "inception_v3": _INCEPTION,
}
_AUXILIARY: Final = ("aux1", "aux2", "AuxLogits")
# Before torch forbade dots within a module's name, DenseNet's layers were named so.
_OLD_NAME: Final = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\..*)$")


def load_network(name: str) -> nn.Module:
    """Build the network for features.

    Parameters
    ----------
    name : str
        The registry's name, which is torchvision's.

    Raises
    ------
    WeightsError
        If the weights are missing or are not the published ones.
    """
    path = get_backbone(name).weights_path()
    return without_classifier(name, read_state(path), path)


def without_classifier(name: str, state: Mapping[str, Tensor], path: Path) -> nn.Module:
    """Build the network for features from the tensors of a weights file.

    Raises
    ------
    WeightsError
        If they are not this network's.
    """
    with torch.device("meta"):  # nothing random is drawn, and no memory taken twice
        network = build(name)
    assign(network, _renamed(name, state), path)
    leave_out_classifier(name, network)
    return for_extraction(network)


def leave_out_classifier(name: str, network: nn.Module) -> None:
    """Let a whole network give features instead of scores, in place."""
    network.set_submodule(_CLASSIFIERS[name], nn.Identity())
    if name == "vgg16":
        network.set_submodule("avgpool", nn.AdaptiveAvgPool2d(1))


def reference(name: str, picture: Image.Image, features: NDArray[np.float32]) -> Reference:
    """Give the features that torchvision's own whole network and transform have for a picture.

    Raises
    ------
    WeightsError
        As `load_network`.
    """
    path = get_backbone(name).weights_path()
    network = build(name)
    network.load_state_dict(dict(_renamed(name, read_state(path))), strict=True)
    weights = import_torchvision().models.get_model_weights(name)["IMAGENET1K_V1"]
    seen: list[Tensor] = []
    # VGG-16's classifier gets more than the mean over places.
    where = "features" if name == "vgg16" else _CLASSIFIERS[name]
    layer = network.get_submodule(where)
    if name == "vgg16":
        layer.register_forward_hook(lambda _m, _x, maps: seen.append(maps.mean((2, 3))))
    else:
        layer.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        network.eval()(weights.transforms()(picture)[None])
    return Reference("torchvision's own network", features, seen[0].flatten().numpy())


def build(name: str) -> nn.Module:
    """Let torchvision build a whole network of random weights, as its weights files want it."""
    options: Any = _OPTIONS.get(name, {})
    network: nn.Module = import_torchvision().models.get_model(name, weights=None, **options)
    return network


def _renamed(name: str, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    if name != "densenet121":
        return state
    return {_OLD_NAME.sub(r"\1\2", key): tensor for key, tensor in state.items()}
