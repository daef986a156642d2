"""The backbones by name, and how a name says that less of one is used, or another view.

A backbone is described without importing torch, so that a round over cached features never pays
for that import; its network is built only when an image has to be run through it.
"""

from __future__ import annotations

import hashlib
import importlib
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from common.errors import SettingsError
from common.transform import Transform

if TYPE_CHECKING:
    import torch

_SMALLEST, _LARGEST = 8, 2048


@dataclass(frozen=True)
class Backbone:
    """A network, its weights and the transform in front of it.

    Attributes
    ----------
    name : str
        The registry's name, with what changes it: ``NAME+truncate:6+view:224x168``.
    dimension : int
        Length of a feature vector.
    weights_sha256 : str
        SHA-256 of the weights file, verified before it is opened.
    licence : str
        SPDX identifier of the weights' licence.
    module : str
        Module with ``load_network() -> torch.nn.Module``; its network maps float32 images
        ``(n, 3, height, width)`` to features ``(n, dimension)``. Where there are stages, also
        ``load_network(kept)`` and ``load_trunk(kept) -> torch.nn.Sequential``, the first stages
        with their BatchNorm apart; the mean over places of what they give are the features.
    transform : Transform
        From an image file to the network's input.
    channels : tuple of int
        Channels that each stage of the trunk gives; empty where it cannot be taken apart.
    kept : int
        Stages that are kept, from the image on; 0 for all.
    """

    name: str
    dimension: int
    weights_sha256: str
    licence: str
    module: str
    transform: Transform
    channels: tuple[int, ...] = ()
    kept: int = 0

    @property
    def fingerprint(self) -> str:
        """Hexadecimal identity of everything that a feature depends on besides the image."""
        name = self.name.partition("+")[0]
        text = f"{name}|{self.dimension}|{self.weights_sha256}|{self.transform.key}"
        if self.kept:
            text += f"|stages={self.kept}"
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def stages(self) -> int:
        """How many stages the trunk has, those left off not counted."""
        return self.kept or len(self.channels)

    def load_network(self) -> torch.nn.Module:
        """Build the network with verified weights, for features, in evaluation mode.

        Raises
        ------
        WeightsError
            If the weights are missing or are not the published ones.
        """
        module = importlib.import_module(self.module)
        network: torch.nn.Module = (
            module.load_network(self.kept) if self.kept else module.load_network()
        )
        return network

    def load_trunk(self) -> torch.nn.Sequential:
        """Build the trunk's stages for fine-tuning: BatchNorm apart, in evaluation mode.

        Raises
        ------
        WeightsError
            As `load_network`.
        SettingsError
            If the backbone cannot be taken apart.
        """
        if not self.channels:
            raise SettingsError(f"backbone {self.name}: has no stages, so it is not fine-tuned")
        trunk: torch.nn.Sequential = importlib.import_module(self.module).load_trunk(self.stages)
        return trunk


_BACKBONES = (
    Backbone(
        name="efficientnet_lite0",
        dimension=1280,
        weights_sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        licence="Apache-2.0",
        module="common.backbones.efficientnet_lite0",
        transform=Transform(size=224, mean=0.5, std=0.5),
        channels=(32, 16, 24, 40, 80, 112, 192, 320, 1280),
    ),
)


def backbone_names() -> tuple[str, ...]:
    """Names that `get_backbone` knows."""
    return tuple(backbone.name for backbone in _BACKBONES)


def get_backbone(name: str) -> Backbone:
    """Look a backbone up.

    Parameters
    ----------
    name : str
        ``NAME``, or ``NAME+truncate:N`` for its first N stages alone (TruncatedTL, Peng et al.,
        2022), or ``NAME+view:WIDTHxHEIGHT`` for another view than the one it was trained on, or
        both.

    Raises
    ------
    SettingsError
        If no backbone has this name, or cannot be changed so.
    """
    base, *changes = name.split("+")
    for backbone in _BACKBONES:
        if backbone.name == base:
            return _changed(backbone, name, changes)
    raise SettingsError(
        f"backbone {base!r} is unknown; choose one of: {', '.join(backbone_names())}"
    )


def _changed(backbone: Backbone, name: str, changes: list[str]) -> Backbone:
    kinds = [change.partition(":")[0] for change in changes]
    if kinds != sorted(set(kinds)):
        raise SettingsError(f"backbone {name!r}: give truncate before view, each once")
    for change in changes:
        truncate = re.fullmatch(r"truncate:([1-9]\d?)", change)
        view = re.fullmatch(r"view:([1-9]\d{0,3})x([1-9]\d{0,3})", change)
        if truncate:
            kept = int(truncate[1])
            if kept >= len(backbone.channels):
                most = len(backbone.channels) - 1
                raise SettingsError(f"backbone {name!r}: truncate takes 1 to {most} stages")
            backbone = replace(backbone, kept=kept, dimension=backbone.channels[kept - 1])
        elif view:
            width, height = int(view[1]), int(view[2])
            if not all(_SMALLEST <= side <= _LARGEST for side in (width, height)):
                raise SettingsError(f"backbone {name!r}: sides are {_SMALLEST} to {_LARGEST}")
            transform = replace(backbone.transform, size=width, height=height)
            backbone = replace(backbone, transform=transform)
        else:
            raise SettingsError(
                f"backbone {name!r}: {change!r} is not truncate:STAGES or view:WIDTHxHEIGHT"
            )
    return replace(backbone, name=name)
