"""The fast path of a convolution with a frozen norm gives what PyTorch's own layers give."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from common.backbones import frozen_norm
from common.backbones.efficientnet_lite import (
    EfficientNetLite,
    InvertedResidual,
    SamePadConv,
    fold_batch_norm,
)
from common.backbones.frozen_norm import conv_norm
from common.backbones.packaged_lite import load_network, load_trunk, load_unfolded

LITE0 = "efficientnet_lite0"
_CHANNELS = 8
# Largest relative error (L2) measured over 400 random layers: float32 8e-7, float64 2e-15.
_TOLERANCES = {torch.float32: 2e-5, torch.float64: 1e-12}


def _layer(
    kernel: int, stride: int, depthwise: bool, dtype: torch.dtype, seed: int = 0
) -> tuple[SamePadConv, nn.BatchNorm2d]:
    random = torch.Generator().manual_seed(seed)
    cout, groups = (_CHANNELS, _CHANNELS) if depthwise else (12, 1)
    conv = SamePadConv(_CHANNELS, cout, kernel, stride, groups)
    norm = nn.BatchNorm2d(cout, eps=1e-3)
    with torch.no_grad():
        conv.weight.normal_(generator=random)
        # Many outputs of a layer then lie below 0 and above 6.
        norm.weight.uniform_(2, 4, generator=random)
        norm.bias.normal_(3, 2, generator=random)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.normal_(generator=random)
    norm.running_var.uniform_(0.5, 2, generator=random)
    return conv.to(dtype), norm.to(dtype).eval()


def _maps(height: int, width: int, dtype: torch.dtype = torch.float32, n: int = 3) -> Tensor:
    random = torch.Generator().manual_seed(1)
    x = torch.randn((n, _CHANNELS, height, width), generator=random, dtype=dtype)
    return x.contiguous(memory_format=torch.channels_last)


def _plain(conv: SamePadConv, norm: nn.Module, x: Tensor, act: bool) -> Tensor:
    y: Tensor = norm(conv(x))
    return functional.relu6(y) if act else y


def _relative(found: Tensor, wanted: Tensor) -> float:
    found, wanted = found.detach().double(), wanted.detach().double()
    return float((found - wanted).norm() / wanted.norm().clamp_min(1e-30))


def _is_fast(y: Tensor) -> bool:
    return y.grad_fn is not None and y.grad_fn.name().startswith("_ConvAct")


def _errors(conv: SamePadConv, norm: nn.BatchNorm2d, x: Tensor, act: bool) -> list[float]:
    """Relative errors of the output and of the four gradients; the reference is in float64."""
    wide_conv, wide_norm = copy.deepcopy(conv).double(), copy.deepcopy(norm).double()
    inputs = x.clone().requires_grad_()
    wide = x.double().requires_grad_()
    y = conv_norm(conv, norm, inputs, act=act)
    assert _is_fast(y)
    wanted = _plain(wide_conv, wide_norm, wide, act)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(2), dtype=y.dtype)
    found = torch.autograd.grad((y * weights).sum(), [inputs, *_parameters(conv, norm)])
    reference = torch.autograd.grad(
        (wanted * weights.double()).sum(), [wide, *_parameters(wide_conv, wide_norm)]
    )
    # A gradient of zeros would be met by a layer that gives none.
    assert all(gradient.abs().max() > 0 for gradient in reference)
    pairs = [(y, wanted), *zip(found, reference, strict=True)]
    return [_relative(mine, theirs) for mine, theirs in pairs]


def _parameters(conv: SamePadConv, norm: nn.BatchNorm2d) -> list[Tensor]:
    return [conv.weight, norm.weight, norm.bias]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("act", [False, True], ids=["linear", "relu6"])
@pytest.mark.parametrize("size", [(8, 10), (7, 9), (9, 6)], ids=str)
@pytest.mark.parametrize("depthwise", [False, True], ids=["dense", "depthwise"])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (5, 1), (5, 2)])
def test_outputs_and_gradients_are_pytorchs(
    kernel: int, stride: int, depthwise: bool, size: tuple[int, int], act: bool, dtype: torch.dtype
) -> None:
    conv, norm = _layer(kernel, stride, depthwise, dtype)
    assert max(_errors(conv, norm, _maps(*size, dtype), act)) < _TOLERANCES[dtype]


@settings(max_examples=60, deadline=None)
@given(
    shape=st.sampled_from([(1, 1), (3, 1), (3, 2), (3, 3), (5, 1), (5, 2), (5, 3), (7, 1), (7, 2)]),
    depthwise=st.booleans(),
    height=st.integers(1, 13),
    width=st.integers(1, 13),
)
def test_gradients_are_pytorchs_for_any_shape(
    shape: tuple[int, int], depthwise: bool, height: int, width: int
) -> None:
    conv, norm = _layer(*shape, depthwise, torch.float64)
    errors = _errors(conv, norm, _maps(height, width, torch.float64), act=False)
    assert max(errors) < _TOLERANCES[torch.float64]


@pytest.mark.parametrize("needed", range(4), ids=["x", "weight", "scale", "shift"])
@pytest.mark.parametrize("depthwise", [False, True], ids=["dense", "depthwise"])
def test_one_gradient_alone_is_what_it_is_among_all(needed: int, depthwise: bool) -> None:
    conv, norm = _layer(5, 2, depthwise, torch.float32)
    x = _maps(9, 8).requires_grad_()
    tensors = [x, *_parameters(conv, norm)]
    wanted = torch.autograd.grad(conv_norm(conv, norm, x, act=True).sum(), tensors)
    for number, tensor in enumerate(tensors):
        tensor.requires_grad_(number == needed)
    conv_norm(conv, norm, x, act=True).sum().backward()  # type: ignore[no-untyped-call]
    assert [tensor.grad is not None for tensor in tensors] == [n == needed for n in range(4)]
    gradient = tensors[needed].grad
    assert gradient is not None
    assert _relative(gradient, wanted[needed]) < 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def test_without_the_private_operator_the_output_is_the_same(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    conv, norm = _layer(3, 1, True, torch.float32)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        first = conv_norm(conv, norm, _maps(9, 9), act=True)
        monkeypatch.setattr(frozen_norm, "_has_fused", lambda _dtype: False)
        second = conv_norm(conv, norm, _maps(9, 9), act=True)
    assert first.dtype == second.dtype == dtype
    # Either may sum the 9 products in its own order; then bfloat16 rounds (2^-8).
    assert _relative(first, second) < (1e-6 if dtype == torch.float32 else 2e-3)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_without_gradients_the_output_has_the_same_bits(mode: type) -> None:
    conv, norm = _layer(5, 2, True, torch.float32)
    wanted = conv_norm(conv, norm, _maps(9, 8), act=True)
    with mode():
        found = conv_norm(conv, norm, _maps(9, 8), act=True)
    assert not found.requires_grad
    assert torch.equal(found, wanted.detach())


def test_a_norm_in_training_mode_uses_the_statistics_of_the_batch() -> None:
    conv, norm = _layer(3, 2, False, torch.float32)
    other = copy.deepcopy(norm.train())
    y = conv_norm(conv, norm, _maps(8, 8), act=False)
    assert not _is_fast(y)
    maps = conv(_maps(8, 8))
    mean, variance = maps.mean((0, 2, 3)), maps.var((0, 2, 3), correction=0)
    normed = (maps - mean[:, None, None]) / (variance[:, None, None] + norm.eps).sqrt()
    wanted = normed * norm.weight[:, None, None] + norm.bias[:, None, None]
    assert _relative(y, wanted) < 1e-5
    assert norm.running_mean is not None
    assert other.running_mean is not None
    assert torch.allclose(norm.running_mean, 0.9 * other.running_mean + 0.1 * mean, atol=1e-6)


def test_the_plain_path_takes_what_the_fast_one_does_not_know() -> None:
    conv, norm = _layer(3, 1, False, torch.float32)
    maps = _maps(6, 6)
    assert _is_fast(conv_norm(conv, norm, maps, act=True)), "the cases below would test nothing"
    statless = nn.BatchNorm2d(12, track_running_stats=False).eval()
    special = type("Special", (nn.BatchNorm2d,), {})(12)
    scaleless = nn.BatchNorm2d(12, affine=False)
    for other in (nn.Identity(), nn.GroupNorm(2, 12), scaleless, statless, special):
        assert not _is_fast(conv_norm(conv, other.eval(), maps, act=False))
    assert not _is_fast(conv_norm(conv, norm, maps.contiguous(), act=False))
    assert not _is_fast(conv_norm(SamePadConv(_CHANNELS, 12, 1, 2), norm, maps, act=False))
    with torch.autocast("cpu", torch.float16):
        assert not _is_fast(conv_norm(conv, norm, maps, act=False))


def test_no_images_give_no_maps() -> None:
    conv, norm = _layer(3, 2, True, torch.float32)
    assert conv_norm(conv, norm, _maps(6, 6, n=0), act=True).shape == (0, _CHANNELS, 3, 3)


def test_a_folded_network_keeps_its_bits() -> None:
    """Features that are kept on disk belong to the bits of the plain layers."""
    folded = load_network(LITE0)
    assert isinstance(folded, EfficientNetLite)
    x = _images(2)

    def relu6(maps: Tensor) -> Tensor:
        return functional.relu6(maps, inplace=True)

    with torch.inference_mode():
        y = relu6(folded.conv_stem(x))
        for block in folded.blocks:
            assert isinstance(block, InvertedResidual)
            z = relu6(block.expand_conv(y)) if block.expands else y
            z = block.project_conv(relu6(block.depthwise_conv(z)))
            y = z.add_(y) if block.adds_input else z
        wanted = relu6(folded.conv_head(y)).mean((2, 3))
        assert torch.equal(folded(x), wanted)


def _images(n: int) -> Tensor:
    """Smooth images: white noise drives hardly any unit of the last stages."""
    random = torch.Generator().manual_seed(3)
    coarse = torch.rand((n, 3, 6, 8), generator=random) * 2 - 1
    x = functional.interpolate(coarse, size=(96, 128), mode="bicubic")
    return x.contiguous(memory_format=torch.channels_last)


def _noise(n: int) -> Tensor:
    x = torch.randn((n, 3, 96, 128), generator=torch.Generator().manual_seed(5))
    return x.contiguous(memory_format=torch.channels_last)


def _gradient(x: Tensor, low: bool) -> Tensor:
    """The gradient of a fixed linear loss to all parameters, end to end."""
    trunk = load_trunk(LITE0, 9)
    weights = torch.randn((len(x), 1280), generator=torch.Generator().manual_seed(4))
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        features = trunk(x).mean((2, 3))
    loss = (features.float() * weights).sum()
    parts = torch.autograd.grad(loss, list(trunk.parameters()))
    assert all(part.dtype == torch.float32 for part in parts)
    return torch.cat([part.flatten() for part in parts])


def _plain_gradient(monkeypatch: pytest.MonkeyPatch, x: Tensor, low: bool) -> Tensor:
    with monkeypatch.context() as patch:
        patch.setattr(frozen_norm, "_fast_dtype", lambda _conv, _x: None)
        return _gradient(x, low)


def test_the_whole_networks_gradient_is_pytorchs(monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, found = _plain_gradient(monkeypatch, _images(4), False), _gradient(_images(4), False)
    assert wanted.norm() > 1
    assert not torch.equal(wanted, found), "the fast path was not taken"
    # Measured: 3e-4, of units that the two orders of summation put on either side of a bend.
    assert _relative(found, wanted) < 2e-3


def test_the_whole_networks_gradient_in_bfloat16_points_the_same_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Measured on noise: 0.990, and 0.984 for PyTorch's own layers under autocast."""
    wanted, found = _plain_gradient(monkeypatch, _noise(16), False), _gradient(_noise(16), True)
    assert functional.cosine_similarity(found.double(), wanted.double(), dim=0) > 0.98


def test_bfloat16_costs_no_more_than_with_pytorchs_own_layers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On smooth images bfloat16 costs both more: cosines 0.963 and 0.942, errors 0.28 and 0.34."""
    wanted = _plain_gradient(monkeypatch, _images(16), False)
    plain, fast = _plain_gradient(monkeypatch, _images(16), True), _gradient(_images(16), True)
    assert _relative(fast, wanted) < 1.05 * _relative(plain, wanted)


@pytest.mark.parametrize("low", [False, True], ids=["float32", "bfloat16"])
def test_two_runs_have_the_same_bits(low: bool) -> None:
    assert torch.equal(_gradient(_images(4), low), _gradient(_images(4), low))


def test_the_whole_networks_features_are_those_of_the_folded_network() -> None:
    network = load_unfolded(LITE0).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = _images(2)
    wanted = fold_batch_norm(copy.deepcopy(network))(x)
    assert wanted.std() > 0.1
    assert _relative(network(x), wanted) < 1e-5
    with torch.autocast("cpu", torch.bfloat16):
        assert _relative(network(x), wanted) < 0.05


def test_a_callers_autocast_does_not_lower_a_float32_gradient() -> None:
    conv, norm = _layer(5, 2, True, torch.float32)
    x = _maps(9, 8).requires_grad_()
    (wanted,) = torch.autograd.grad(conv_norm(conv, norm, x, act=True).sum(), [x])
    y = conv_norm(conv, norm, x, act=True).sum()
    with torch.autocast("cpu", torch.bfloat16):
        (found,) = torch.autograd.grad(y, [x])
    assert torch.equal(found, wanted)
