"""What a backbone is: a network, its weights, the transform in front, and what changes them.

A backbone is described without importing torch, so that a round over cached features never pays
for that import; its network is built only when an image has to be run through it.
"""

from __future__ import annotations

import hashlib
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from common.errors import SettingsError, WeightsError
from common.transform import Transform

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from common.backbones.weights import PackagedFile, PublishedFile


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
        ``load_stages(kept) -> torch.nn.Sequential``, the first of them, and ``load_trunk(kept)``,
        these with their BatchNorm apart; the features are means over places of what they give.
        ``MODULE:MEMBER`` is a module of several networks: each function takes the member first.
    transform : Transform
        From an image file to the network's input.
    channels : tuple of int
        Channels that each stage of the trunk gives; empty where it cannot be taken apart.
    kept : int
        Stages that are kept, from the image on; 0 for all.
    levels : int
        Of the stages kept, how many of the last give features, each its maps' means and standard
        deviations; 0 for the means of the last alone.
    weights : PackagedFile, PublishedFile or None
        Where the weights file is; None where the module alone knows.
    sides : tuple of int
        Smallest and largest side of the network's input, in pixels.
    crop : tuple of int or None
        Height and width of five crops of the transform's pixels, over which features are averaged.
    flip : bool
        Whether features are averaged with those of the mirror image.
    """

    name: str
    dimension: int
    weights_sha256: str
    licence: str
    module: str
    transform: Transform
    channels: tuple[int, ...] = ()
    kept: int = 0
    levels: int = 0
    weights: PackagedFile | PublishedFile | None = None
    sides: tuple[int, int] = (8, 2048)
    crop: tuple[int, int] | None = None
    flip: bool = False

    @property
    def base(self) -> str:
        """The name without what changes it."""
        return self.name.partition("+")[0]

    @property
    def fingerprint(self) -> str:
        """Hexadecimal identity of everything that a feature depends on besides the image."""
        text = f"{self.base}|{self.dimension}|{self.weights_sha256}|{self.transform.key}"
        if self.kept:
            text += f"|stages={self.kept}"
        if self.levels:
            text += f"|levels={self.levels}"
        if self.crop:
            text += f"|crops={self.crop[1]}x{self.crop[0]}"
        if self.flip:
            text += "|flip"
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def stages(self) -> int:
        """How many stages can be fine-tuned, those left off not counted."""
        # Averages over views are of frozen features: training draws views of its own, and its
        # head stands on the last stage.
        frozen = self.flip or self.crop or self.levels
        return 0 if frozen else self.kept or len(self.channels)

    def weights_path(self) -> Path:
        """Find the weights file, fetching it where it is published, and verify it.

        Raises
        ------
        WeightsError
            If it is missing and cannot be fetched, or is not the published one.
        """
        if self.weights is None:
            raise WeightsError(f"backbone {self.name}: has no weights file of its own")
        return self.weights.verified(self.base, self.weights_sha256)

    def load_network(self) -> torch.nn.Module:
        """Build the network with verified weights, for features, in evaluation mode.

        Raises
        ------
        WeightsError
            If the weights are missing or are not the published ones.
        """
        network = self._pooled() if self.kept or self.levels else self.call("load_network")
        if self.crop or self.flip:
            from common.backbones.averaged_views import AveragedViews

            network = AveragedViews(network, self.crop, flip=self.flip)
        return cast("torch.nn.Module", network)

    def _pooled(self) -> torch.nn.Module:
        from common.backbones.pooling import Pooled, PooledLevels

        stages = self.call("load_stages", self.kept or len(self.channels))
        return PooledLevels(stages, self.levels) if self.levels else Pooled(stages)

    def load_trunk(self) -> torch.nn.Sequential:
        """Build the trunk's stages for fine-tuning: BatchNorm apart, in evaluation mode.

        Raises
        ------
        WeightsError
            As `load_network`.
        SettingsError
            If the backbone cannot be taken apart.
        """
        if not self.stages:
            raise SettingsError(f"backbone {self.name}: has no stages, so it is not fine-tuned")
        trunk: torch.nn.Sequential = self.call("load_trunk", self.stages)
        return trunk

    def call(self, function: str, *arguments: object) -> Any:  # noqa: ANN401
        """Call a function of the backbone's module, for its member where it has several."""
        module, _, member = self.module.partition(":")
        members = [member] if member else []
        return getattr(importlib.import_module(module), function)(*members, *arguments)
