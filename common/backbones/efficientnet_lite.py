"""EfficientNet-Lite0 to Lite2.

EfficientNet-B0 (Tan & Le, ICML 2019, table 1) without squeeze-and-excite and with ReLU6, made wider
and deeper by their factors. The weights were trained in TensorFlow, so that a convolution of stride
2 needs TensorFlow's uneven "SAME" padding: symmetric padding shifts every later feature map by half
a pixel.
"""

from __future__ import annotations

import math
from typing import NamedTuple, cast

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from common.backbones.frozen_norm import conv_norm


class _Stage(NamedTuple):
    expand: int
    kernel: int
    stride: int
    channels: int
    repeats: int


_LITE0 = (
    _Stage(1, 3, 1, 16, 1),
    _Stage(6, 3, 2, 24, 2),
    _Stage(6, 5, 2, 40, 2),
    _Stage(6, 3, 2, 80, 3),
    _Stage(6, 5, 1, 112, 3),
    _Stage(6, 5, 2, 192, 4),
    _Stage(6, 3, 1, 320, 1),
)


def _stages(width: float, depth: float) -> tuple[_Stage, ...]:
    """Scale the stages; Lite networks keep the depth of the first and the last."""
    inner = range(1, len(_LITE0) - 1)
    return tuple(
        stage._replace(
            channels=_multiple_of_8(stage.channels * width),
            repeats=math.ceil(stage.repeats * depth) if number in inner else stage.repeats,
        )
        for number, stage in enumerate(_LITE0)
    )


def _multiple_of_8(channels: float) -> int:
    nearest = int(channels + 4) // 8 * 8
    return nearest if nearest >= 0.9 * channels else nearest + 8


class SamePadConv(nn.Conv2d):
    """A convolution of odd kernel with TensorFlow's "SAME" padding."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        symmetric = (kernel - 1) // 2 if stride == 1 else 0
        super().__init__(cin, cout, kernel, stride, symmetric, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, cin, h, w)`` to ``(n, cout, ceil(h / stride), ceil(w / stride))``."""
        if self.stride[0] > 1:
            x = functional.pad(x, self.margins(x.shape[2], x.shape[3]))
        return super().forward(x)

    def margins(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Give the rows and columns to add left, right, above and below before a convolution.

        All zero at stride 1, where the convolution pads by itself.
        """
        stride, kernel = self.stride[0], self.kernel_size[0]
        if stride == 1:
            return 0, 0, 0, 0
        down, right = _same_padding(height, kernel, stride), _same_padding(width, kernel, stride)
        return right // 2, right - right // 2, down // 2, down - down // 2


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
        expand = cast("SamePadConv", self.expand_conv)
        y = conv_norm(expand, self.bn0, x, act=True) if self.expands else x
        y = conv_norm(self.depthwise_conv, self.bn1, y, act=True)
        out = conv_norm(self.project_conv, self.bn2, y, act=False)
        return out.add_(x) if self.adds_input else out


class EfficientNetLite(nn.Module):
    """The network; `forward` gives features, `logits` the 1,000 ImageNet scores.

    Parameters
    ----------
    width, depth : float
        Factors of the stages' channels and repeats; 1 is Lite0. Stem and head keep their width.
    """

    def __init__(self, width: float = 1.0, depth: float = 1.0) -> None:
        super().__init__()
        self.stages = _stages(width, depth)
        self.conv_stem = SamePadConv(3, 32, 3, stride=2)
        self.bn0 = _norm(32)
        blocks, channels = [], 32
        for stage in self.stages:
            for repeat in range(stage.repeats):
                blocks.append(InvertedResidual(channels, stage, stage.stride if repeat == 0 else 1))
                channels = stage.channels
        self.blocks = nn.Sequential(*blocks)
        self.conv_head = SamePadConv(channels, 1280, 1)
        self.bn1 = _norm(1280)
        self.fc = nn.Linear(1280, 1000)

    def forward(self, x: Tensor) -> Tensor:
        """Map images ``(n, 3, height, width)``, normalised, to features ``(n, 1280)``."""
        x = conv_norm(self.conv_stem, self.bn0, x, act=True)
        x = conv_norm(self.conv_head, self.bn1, self.blocks(x), act=True)
        return x.mean((2, 3))

    def logits(self, x: Tensor) -> Tensor:
        """Map images ``(n, 3, height, width)``, normalised, to ImageNet logits ``(n, 1000)``."""
        scores: Tensor = self.fc(self(x))
        return scores


def fold_batch_norm(network: EfficientNetLite) -> EfficientNetLite:
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


class _Stem(nn.Module):
    """A convolution, its norm and the activation."""

    def __init__(self, conv: SamePadConv, norm: nn.Module) -> None:
        super().__init__()
        self.conv, self.norm = conv, norm

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(n, cin, h, w)`` to ``(n, cout, h / stride, w / stride)``."""
        return conv_norm(self.conv, self.norm, x, act=True)


def trunk_of(network: EfficientNetLite, kept: int) -> nn.Sequential:
    """Take a network apart into its first stages, which keep its weights.

    Tan & Le's table 1 has nine: the stem, seven stages of blocks, and the last convolution.
    """
    stages: list[nn.Module] = [_Stem(network.conv_stem, network.bn0)]
    first = 0
    for stage in network.stages:
        stages.append(network.blocks[first : first + stage.repeats])
        first += stage.repeats
    stages.append(_Stem(network.conv_head, network.bn1))
    return nn.Sequential(*stages[:kept])
