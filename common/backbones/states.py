"""Weights from a file into a network: nothing is unpickled, and nothing stays random."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from common.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# Older files lack this count of training steps, which no feature depends on.
_COUNT = "num_batches_tracked"


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a weights file whose checksum has been compared.

    Raises
    ------
    WeightsError
        If it cannot be read, or holds anything but named tensors.
    """
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except (EOFError, OSError, RuntimeError) as error:
        raise WeightsError(f"{path}: cannot be read as weights ({error})") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f"{path}: holds no table of tensors by name")
    return dict(state)


def assign(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Give a network all of its weights; those that it was built with are dropped.

    Parameters
    ----------
    network : Module
        May have been built on the ``meta`` device.
    state : mapping of str to Tensor
        Every tensor of the network's state, and no other.
    path : Path
        Where they came from, for the error message.

    Raises
    ------
    WeightsError
        Naming a tensor that is missing, too many, of another shape or kind, or not finite.
    """
    wanted = network.state_dict()
    zero = torch.tensor(0)
    found = {name: zero for name in wanted if name.endswith(f".{_COUNT}")} | dict(state)
    for what, names in (
        ("lacks", wanted.keys() - found.keys()),
        ("has, besides what the network takes,", found.keys() - wanted.keys()),
    ):
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            raise WeightsError(f"{path}: {what} {min(names)}{more}; it is another network's")
    for name, tensor in found.items():
        one = wanted[name]
        if (tensor.shape, tensor.dtype) != (one.shape, one.dtype):
            raise WeightsError(
                f"{path}: {name} is {tensor.dtype} of {tuple(tensor.shape)}, expected "
                f"{one.dtype} of {tuple(one.shape)}; it is another network's"
            )
    network.load_state_dict(found, strict=True, assign=True)
    check_finite(network, path)


def check_finite(network: nn.Module, path: Path) -> None:
    """Refuse weights of which one is not a finite number.

    Raises
    ------
    WeightsError
        Naming the tensor.
    """
    for name, tensor in network.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise WeightsError(f"{path}: {name} is not finite; bring the published file")


def for_extraction(network: nn.Module) -> nn.Module:
    """Set a network up for features: evaluation mode, no gradients, channels last."""
    network = network.eval().requires_grad_(False)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
