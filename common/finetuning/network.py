"""The network that is fine-tuned: a backbone's stages, their mean over places, a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from common.backbones import Backbone
from common.errors import SettingsError
from common.finetuning.strategies import CLASSIFIER
from common.learners.base import Arrays, ArraySpec
from common.learners.front import affine_map

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Logit of a class without training images, so that it is never the largest.
_ABSENT = -10.0


class FineTunedNetwork(nn.Module):
    """A trunk of stages and a classifier.

    Parameters
    ----------
    trunk : Sequential
        The stages; the last gives ``(n, dimension, h, w)``.
    dimension, classes : int
        Of the classifier.
    """

    def __init__(self, trunk: nn.Sequential, dimension: int, classes: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.classifier = nn.Linear(dimension, classes)
        nn.init.zeros_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map normalised images ``(n, 3, height, width)`` to logits ``(n, classes)``."""
        return self.classify(self.features(x))

    def classify(self, features: Tensor) -> Tensor:
        """Map features ``(n, dimension)`` to logits ``(n, classes)``, in float32 throughout."""
        # An exact head weighs small differences of features, which bfloat16 rounds away.
        with torch.autocast(features.device.type, enabled=False):
            logits: Tensor = self.classifier(features.float())
        return logits

    def features(self, x: Tensor) -> Tensor:
        """Map normalised images to features ``(n, dimension)``."""
        features: Tensor = self.trunk(x).mean((2, 3))
        return features

    def lower(self, x: Tensor, depth: int) -> Tensor:
        """Run all stages but the last `depth`."""
        maps: Tensor = self.trunk[: len(self.trunk) - depth](x)
        return maps

    def upper(self, maps: Tensor, depth: int) -> Tensor:
        """Go on from `lower`, to features ``(n, dimension)``."""
        features: Tensor = self.trunk[len(self.trunk) - depth :](maps).mean((2, 3))
        return features


def build_network(backbone: Backbone, classes: int) -> FineTunedNetwork:
    """Build the network with pretrained stages and a classifier of zeros, in evaluation mode.

    Raises
    ------
    WeightsError, SettingsError
        As `Backbone.load_trunk`.
    """
    network = FineTunedNetwork(backbone.load_trunk(), backbone.dimension, classes)
    return network.to(memory_format=torch.channels_last).eval()  # type: ignore[call-overload, no-any-return]


def trained_tensors(network: FineTunedNetwork, depth: int, norm: str) -> dict[str, Tensor]:
    """Name what training changes.

    Parameters
    ----------
    network : FineTunedNetwork
        The network.
    depth : int
        Stages that are trained, counted from the classifier.
    norm : str
        As `TrainingSettings.norm`; the statistics count where they are not frozen.

    Returns
    -------
    dict of str to Tensor
        By name, in the network's order; the network's own tensors.
    """
    first = len(network.trunk) - depth
    found: dict[str, Tensor] = {}
    for name, tensor in network.state_dict(keep_vars=True).items():
        part, _, rest = name.partition(".")
        is_statistic = not isinstance(tensor, nn.Parameter)
        if part == "trunk" and int(rest.partition(".")[0]) < first:
            continue
        if is_statistic and (norm == "frozen" or not tensor.is_floating_point()):
            continue
        found[name] = tensor
    return found


def norm_names(network: FineTunedNetwork) -> frozenset[str]:
    """Name the scales, shifts and statistics of all norms."""
    kinds = (nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)
    return frozenset(
        f"{prefix}.{name}"
        for prefix, module in network.named_modules()
        if isinstance(module, kinds)
        for name in module.state_dict()
    )


def specify(tensors: Mapping[str, Tensor]) -> dict[str, ArraySpec]:
    """Describe tensors as arrays that travel."""
    return {name: ArraySpec(tuple(tensor.shape), "float32") for name, tensor in tensors.items()}


def read_tensors(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[np.float32]]:
    """Copy tensors into arrays."""
    return {
        name: tensor.detach().cpu().contiguous().numpy().astype(np.float32, copy=True)
        for name, tensor in tensors.items()
    }


def write_tensors(tensors: Mapping[str, Tensor], arrays: Arrays) -> None:
    """Copy arrays into the tensors of their names."""
    with torch.no_grad():
        for name, array in arrays.items():
            tensors[name].copy_(torch.from_numpy(np.ascontiguousarray(array).copy()))


def classifier_of(arrays: Arrays) -> dict[str, NDArray[np.float32]]:
    """Write an exact linear head as the classifier that gives the same probabilities.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        A learner's last state: scores of standardised, perhaps projected features.

    Returns
    -------
    dict of str to ndarray of float32
        ``classifier.weight``, shape (classes, dimension), and ``classifier.bias``.

    Raises
    ------
    SettingsError
        If a kernel map lies between features and scores.
    """
    if "rff_weight" in arrays or "landmark" in arrays:
        raise SettingsError("learner settings: a head behind a kernel is not a linear classifier")
    front, temperature = affine_map(arrays), arrays["inverse_temperature"]
    slope = (arrays["coef"] @ front[:-1, :-1]) * temperature[:, None]
    bias = (arrays["intercept"] + arrays["coef"] @ front[:-1, -1]) * temperature
    absent = arrays["class_count"] == 0
    slope[absent], bias[absent] = 0.0, _ABSENT
    return {
        f"{CLASSIFIER}weight": slope.astype(np.float32),
        f"{CLASSIFIER}bias": bias.astype(np.float32),
    }
