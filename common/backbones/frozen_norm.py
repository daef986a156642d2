"""Convolution, BatchNorm of frozen statistics and ReLU6 in one step that trains fast on a CPU.

A BatchNorm in evaluation mode is an affine map of each channel. It is folded into the convolution
at each call (Jacob et al., CVPR 2018, section 3.2), so that no map is stored before it, and the
gradients of the weight, the scale and the shift flow through the folded weight and bias.

The backward of depthwise convolutions takes most of a step in PyTorch: oneDNN is fast for 3 x 3
filters and for the input's gradient at stride 1 only. Other cases are put together from those.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

if TYPE_CHECKING:
    from common.backbones.efficientnet_lite import SamePadConv

_LAST = torch.channels_last
_Context = Any  # what autograd keeps between forward and backward
_Mask = tuple[bool, bool, bool]
_Found = tuple[Tensor | None, Tensor | None, Tensor | None]


class _Geometry(NamedTuple):
    stride: int
    padding: int  # that the operator adds on each side
    margins: tuple[int, int, int, int]  # added before it: left, right, top, bottom
    groups: int


def conv_norm(conv: SamePadConv, norm: nn.Module, x: Tensor, *, act: bool) -> Tensor:
    """Apply a convolution, its norm and, where asked, ReLU6.

    The fast path is taken for a BatchNorm in evaluation mode on a channels-last tensor of a CPU.
    It is not differentiable twice, and it calls no forward hook of `conv` and `norm`.

    Parameters
    ----------
    conv : SamePadConv
        Convolution without bias.
    norm : Module
        Its norm; ``Identity`` after folding.
    x : Tensor, shape (n, cin, h, w)
        Input maps.
    act : bool
        Whether ReLU6 follows.

    Returns
    -------
    Tensor, shape (n, cout, ceil(h / stride), ceil(w / stride))
        Of bfloat16 under ``torch.autocast("cpu", torch.bfloat16)``, else of `x`'s dtype.
    """
    if type(norm) is nn.BatchNorm2d and not norm.training:
        dtype = _fast_dtype(conv, x)
        mean, variance = norm.running_mean, norm.running_var
        if dtype and norm.affine and mean is not None and variance is not None:
            scale = norm.weight * (variance + norm.eps).rsqrt()
            weight = (conv.weight * scale[:, None, None, None]).to(dtype, memory_format=_LAST)
            bias = (norm.bias - mean * scale).to(dtype)
            margins, padding = conv.margins(x.shape[2], x.shape[3]), int(conv.padding[0])
            geometry = _Geometry(conv.stride[0], padding, margins, conv.groups)
            return _ConvAct.apply(x.to(dtype), weight, bias, geometry, act)  # type: ignore[no-any-return, no-untyped-call]
    y: Tensor = norm(conv(x))
    return functional.relu6(y, inplace=True) if act else y


def _fast_dtype(conv: SamePadConv, x: Tensor) -> torch.dtype | None:
    """Give what the fast path computes in; None where it does not apply."""
    weight = conv.weight
    if x.device.type != "cpu" or weight.device.type != "cpu" or conv.bias is not None:
        return None
    if x.dim() != 4 or x.numel() == 0 or not x.is_contiguous(memory_format=_LAST):
        return None
    if conv.kernel_size[0] < conv.stride[0]:  # where oneDNN's backward may crash
        return None
    if torch.is_autocast_enabled("cpu"):
        low = torch.get_autocast_dtype("cpu")
        fits = x.dtype in (torch.float32, low) and weight.dtype == torch.float32
        return low if fits and low == torch.bfloat16 else None
    return x.dtype if x.dtype == weight.dtype in (torch.float32, torch.float64) else None


class _ConvAct(torch.autograd.Function):
    """Convolution with bias and, where asked, ReLU6; all tensors of one dtype, channels last."""

    @staticmethod
    def forward(
        ctx: _Context, x: Tensor, weight: Tensor, bias: Tensor, geometry: _Geometry, act: bool
    ) -> Tensor:
        padded = functional.pad(x, geometry.margins) if any(geometry.margins) else x
        if act and x.dtype != torch.float64 and _has_fused(x.dtype):
            y = _fused(padded, weight, bias, geometry)
        else:
            stride, padding, _, groups = geometry
            y = functional.conv2d(padded, weight, bias, stride, padding, 1, groups)
            y = y.clamp_(0, 6) if act else y
        ctx.save_for_backward(padded, weight, y if act else None)
        ctx.geometry, ctx.size = geometry, x.shape[2:]
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: _Context, g: Tensor) -> tuple[Tensor | None, ...]:
        padded, weight, y = ctx.saved_tensors
        if y is not None:
            g = torch.ops.aten.hardtanh_backward(g, y, 0.0, 6.0)
        g, needs = g.contiguous(memory_format=_LAST), ctx.needs_input_grad[:3]
        # A caller's autocast must not lower a float32 graph's gradients.
        with torch.autocast("cpu", enabled=False):
            gradients = _gradients(g, padded, weight, ctx.geometry, ctx.size, needs)
        return *gradients, None, None


def _gradients(
    g: Tensor, padded: Tensor, weight: Tensor, geometry: _Geometry, size: torch.Size, needs: _Mask
) -> _Found:
    """Give the gradients of input, weight and bias that are needed."""
    depthwise = geometry.groups == len(weight) > 1 and weight.shape[1] == 1
    if not depthwise or weight.shape[2] < 3 or geometry.stride > 2:
        gx, gw, gb = _backward(g, padded, weight, geometry, needs)
        left, _, top, _ = geometry.margins
        inside = (..., slice(top, top + size[0]), slice(left, left + size[1]))
        return gx if gx is None else gx[inside], gw, gb
    gx = None
    if needs[0] and geometry.stride == 2:
        gx = _input_by_phases(g, weight, geometry, size)
    elif needs[0]:
        gx = _backward(g, padded, weight, geometry, (True, False, False))[0]
    gw = _filter_by_windows(g, padded, weight, geometry) if needs[1] else None
    return gx, gw, g.sum((0, 2, 3)) if needs[2] else None


def _backward(g: Tensor, x: Tensor, weight: Tensor, geometry: _Geometry, mask: _Mask) -> _Found:
    """Give PyTorch's gradients of input, weight and bias."""
    stride, padding = (geometry.stride,) * 2, (geometry.padding,) * 2
    found: _Found = torch.ops.aten.convolution_backward(
        g, x, weight, [len(weight)], stride, padding, (1, 1), False, (0, 0), geometry.groups, mask
    )
    return found


def _filter_by_windows(g: Tensor, x: Tensor, weight: Tensor, geometry: _Geometry) -> Tensor | None:
    """Give the gradient of depthwise filters of odd size, 3 x 3 taps at a time."""
    kernel, mask = weight.shape[2], (False, True, False)
    if kernel == 3:
        return _backward(g, x, weight, geometry, mask)[1]
    x, unpadded = functional.pad(x, (geometry.padding,) * 4), geometry._replace(padding=0)
    rows, columns = (geometry.stride * (length - 1) + 3 for length in g.shape[2:])
    taps, out = weight[:, :, :3, :3], torch.empty_like(weight)
    # Neighbouring windows share a row or a column of taps, which is computed twice.
    for i in range(0, kernel - 2, 2):
        for j in range(0, kernel - 2, 2):
            window = x[:, :, i : i + rows, j : j + columns].contiguous(memory_format=_LAST)
            found = _backward(g, window, taps, unpadded, mask)[1]
            out[:, :, i : i + 3, j : j + 3] = cast("Tensor", found)
    return out


def _input_by_phases(g: Tensor, weight: Tensor, geometry: _Geometry, size: torch.Size) -> Tensor:
    """Give the gradient of the input of a depthwise convolution of stride 2.

    Rows and columns of one parity meet every second tap only: four convolutions of stride 1.
    """
    left, _, top, _ = geometry.margins
    gx = torch.empty((*g.shape[:2], *size), dtype=g.dtype, memory_format=_LAST)
    for row in (0, 1):
        for column in (0, 1):
            taps = weight[:, :, row::2, column::2].flip(2, 3).contiguous(memory_format=_LAST)
            reach = (taps.shape[2] - 1, taps.shape[3] - 1)
            whole = functional.conv2d(g, taps, None, 1, reach, 1, geometry.groups)
            i, j = (row - top) % 2, (column - left) % 2
            target = gx[:, :, i::2, j::2]
            down, right = (i + top - row) // 2, (j + left - column) // 2
            target.copy_(whole[:, :, down:, right:][:, :, : target.shape[2], : target.shape[3]])
    return gx


def _fused(x: Tensor, weight: Tensor, bias: Tensor, geometry: _Geometry) -> Tensor:
    stride, padding = (geometry.stride,) * 2, (geometry.padding,) * 2
    out: Tensor = torch.ops.mkldnn._convolution_pointwise(
        x, weight, bias, padding, stride, (1, 1), geometry.groups, "hardtanh", [0.0, 6.0], ""
    )
    return out


@cache
def _has_fused(dtype: torch.dtype) -> bool:
    """Whether this PyTorch and CPU have oneDNN's convolution with ReLU6, a private operator."""
    one = torch.ones(1, 1, 1, 1, dtype=dtype)
    try:
        out = _fused(one, one, 7 * one.flatten(), _Geometry(1, 0, (0, 0, 0, 0), 1))
    except (AttributeError, RuntimeError, TypeError):
        return False
    return out.item() == 6.0
