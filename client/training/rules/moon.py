"""MOON: features are drawn to the global network's, and away from the site's last ones."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import cosine_similarity, softplus

from client.training.rules.base import LocalRule
from client.training.rules.parts import tensors_of

if TYPE_CHECKING:
    from torch import Tensor

    from client.training.rules.base import LocalRun
    from common.finetuning.network import FineTunedNetwork
    from common.finetuning.strategies import ContrastiveSettings

PREVIOUS = "previous|"


class Moon(LocalRule):
    r"""MOON's site (Li, He & Song, CVPR 2021, equations 3 and 4).

    The loss gains :math:`\mu` times the mean over images of

    .. math:: -\log \frac{\exp(\cos(z, z_g) / \tau)}
        {\exp(\cos(z, z_g) / \tau) + \exp(\cos(z, z_p) / \tau)}

    where :math:`z` are the features in training, :math:`z_g` those of the received network, and
    :math:`z_p` those of the site's network at the end of its last counted round. The features are
    the classifier's input; the paper has a projection before it, which a pretrained network lacks.
    There is no contrast where the site kept not all that is trained, as in its first round and the
    first of a phase that goes deeper, nor where the trunk is not trained.

    Parameters
    ----------
    settings : ContrastiveSettings
        :math:`\mu`, 0 being FedAvg to the bit, and the temperature :math:`\tau`.
    """

    def __init__(self, settings: ContrastiveSettings) -> None:
        self._settings = settings

    def begin(self, run: LocalRun) -> None:
        """As `LocalRule.begin`."""
        self._others: tuple[FineTunedNetwork, FineTunedNetwork] | None = None
        names = run.received.keys()
        has_all = all(PREVIOUS + name in run.memory for name in names)
        if self._settings.mu and run.place.phase.depth and has_all:
            previous = {name: run.memory[PREVIOUS + name] for name in names}
            self._others = _fixed(run, run.received), _fixed(run, previous)

    def extra_loss(self, run: LocalRun, images: Tensor, features: Tensor) -> Tensor | None:
        """As `LocalRule.extra_loss`."""
        if self._others is None:
            return None
        # The other networks compute in what this one's features came in.
        low = features.dtype != torch.float32
        with (
            torch.no_grad(),
            torch.autocast(features.device.type, features.dtype if low else None, enabled=low),
        ):
            depth = run.place.phase.depth
            received, previous = (other.upper(images, depth).float() for other in self._others)
        z = features.float()
        further = cosine_similarity(z, previous) - cosine_similarity(z, received)
        # -log(e^a / (e^a + e^b)) without overflow.
        return self._settings.mu * softplus(further / self._settings.temperature).mean()

    def finish(self, run: LocalRun, loss: float) -> tuple[dict[str, Tensor], float]:
        """As `LocalRule.finish`."""
        for name, tensor in tensors_of(run).items():
            run.kept[PREVIOUS + name] = tensor.detach().clone()
        return {}, loss


def _fixed(run: LocalRun, tensors: dict[str, Tensor]) -> FineTunedNetwork:
    """Copy the round's network with other weights, in evaluation mode."""
    network = deepcopy(run.network).requires_grad_(requires_grad=False)
    network.load_state_dict(tensors, strict=False)
    return network.eval()
