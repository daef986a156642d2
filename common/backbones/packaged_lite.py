"""EfficientNet-Lite0 to Lite2 with the ImageNet weights that packages of the registry carry."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import torch
from torch import nn

from common.backbones.efficientnet_lite import EfficientNetLite, fold_batch_norm, trunk_of
from common.backbones.reference import Reference
from common.backbones.registry import get_backbone
from common.backbones.states import assign, read_state

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image
    from torch import Tensor

# The five best classes of the reference picture, and eleven others; a test compares it with timm.
_STORED: Final = Path(__file__).with_name("reference.json")

# Width and depth (Tan & Le, ICML 2019).
_FACTORS: Final = {
    "efficientnet_lite0": (1.0, 1.0),
    "efficientnet_lite1": (1.0, 1.1),
    "efficientnet_lite2": (1.1, 1.2),
}


def load_unfolded(name: str) -> EfficientNetLite:
    """Build the network as it was trained: BatchNorm apart, evaluation mode.

    Parameters
    ----------
    name : str
        The registry's name.

    Raises
    ------
    WeightsError
        If the package or its file is missing, or is not the published one.
    """
    path = get_backbone(name).weights_path()
    # The file's names differ from ours in a leading underscore only.
    state: dict[str, Tensor] = {
        key.lstrip("_").replace("._", "."): tensor for key, tensor in read_state(path).items()
    }
    with torch.device("meta"):  # nothing random is drawn
        network = EfficientNetLite(*_FACTORS[name])
    assign(network, state, path)
    return network.eval().requires_grad_(False)


def reference(name: str, _picture: Image.Image, features: NDArray[np.float32]) -> Reference:
    """Give some of the ImageNet scores of the reference picture, and timm's with these weights."""
    stored = json.loads(_STORED.read_text(encoding="utf-8"))[name]
    classifier = load_unfolded(name).fc
    scores: NDArray[np.float32] = classifier(torch.from_numpy(features)).numpy()
    wanted = np.array(stored["logits"], dtype=np.float32)
    return Reference("timm's scores with these weights", scores[stored["classes"]], wanted)


def load_trunk(name: str, kept: int) -> nn.Sequential:
    """Build the first stages for fine-tuning: BatchNorm apart, evaluation mode, trainable.

    Raises
    ------
    WeightsError
        As `load_unfolded`.
    """
    return trunk_of(load_unfolded(name), kept).requires_grad_(True)


def load_network(name: str) -> EfficientNetLite:
    """Build the network for extraction: BatchNorm folded, channels last.

    Raises
    ------
    WeightsError
        As `load_unfolded`.
    """
    network = fold_batch_norm(load_unfolded(name))
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


def load_stages(name: str, kept: int) -> nn.Sequential:
    """Build the first stages for extraction, as `load_network` does.

    Raises
    ------
    WeightsError
        As `load_unfolded`.
    """
    return trunk_of(load_network(name), kept)
