"""What several rules ask of a round."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from torch import Tensor, nn

from common.finetuning.network import norm_names, trained_tensors

if TYPE_CHECKING:
    from client.training.rules.base import LocalRun


def tensors_of(run: LocalRun) -> dict[str, Tensor]:
    """Name the network's own tensors that the round trains, statistics of norms among them."""
    return trained_tensors(run.network, run.place.phase.depth, run.settings.norm)


def shared_parameters(run: LocalRun) -> dict[str, nn.Parameter]:
    """Name the parameters that have a global counterpart: all but a site's own norms."""
    local = norm_names(run.network) if run.settings.norm == "local" else frozenset()
    return {name: one for name, one in run.parameters.items() if name not in local}


def pull(run: LocalRun, strength: float) -> None:
    """Add the gradient of half the squared distance from the global weights, times `strength`.

    Nothing is added for 0, so that the gradients stay the same to the bit.
    """
    if not strength:
        return
    for name, parameter in shared_parameters(run).items():
        if parameter.grad is not None:
            distance = parameter.detach() - run.received[name]
            parameter.grad.add_(distance, alpha=strength)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Keep a network in evaluation mode for a while, so that its norms' statistics stay."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
