"""The backbones by name.

A backbone is described without importing torch, so that a round over cached features never pays
for that import; its network is built only when an image has to be run through it.
"""

from __future__ import annotations

import hashlib
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.errors import SettingsError
from common.transform import Transform

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Backbone:
    """A frozen network, its weights and the transform in front of it.

    Attributes
    ----------
    name : str
        The registry's name.
    dimension : int
        Length of a feature vector.
    weights_sha256 : str
        SHA-256 of the weights file, verified before it is opened.
    licence : str
        SPDX identifier of the weights' licence.
    module : str
        Module with ``load_network() -> torch.nn.Module``; its network maps float32 images
        ``(n, 3, size, size)`` to features ``(n, dimension)``.
    transform : Transform
        From an image file to the network's input.
    """

    name: str
    dimension: int
    weights_sha256: str
    licence: str
    module: str
    transform: Transform

    @property
    def fingerprint(self) -> str:
        """Hexadecimal identity of everything that a feature depends on besides the image."""
        text = f"{self.name}|{self.dimension}|{self.weights_sha256}|{self.transform.key}"
        return hashlib.sha256(text.encode()).hexdigest()

    def load_network(self) -> torch.nn.Module:
        """Build the network with verified weights, in evaluation mode.

        Raises
        ------
        WeightsError
            If the weights are missing or are not the published ones.
        """
        network: torch.nn.Module = importlib.import_module(self.module).load_network()
        return network


_BACKBONES = (
    Backbone(
        name="efficientnet_lite0",
        dimension=1280,
        weights_sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        licence="Apache-2.0",
        module="common.backbones.efficientnet_lite0",
        transform=Transform(size=224, mean=0.5, std=0.5),
    ),
)


def backbone_names() -> tuple[str, ...]:
    """Names that `get_backbone` knows."""
    return tuple(backbone.name for backbone in _BACKBONES)


def get_backbone(name: str) -> Backbone:
    """Look a backbone up.

    Raises
    ------
    SettingsError
        If no backbone has this name.
    """
    for backbone in _BACKBONES:
        if backbone.name == name:
            return backbone
    raise SettingsError(
        f"backbone {name!r} is unknown; choose one of: {', '.join(backbone_names())}"
    )
