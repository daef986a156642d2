"""Ditto: each site has a model of its own beside the global one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from client.training.rules.base import OWN, LocalRule
from client.training.rules.parts import pull, tensors_of

if TYPE_CHECKING:
    from torch import Tensor

    from client.training.rules.base import LocalRun
    from common.finetuning.strategies import DittoSettings


class Ditto(LocalRule):
    r"""Ditto's site (Li et al., ICML 2021, algorithm 1).

    The global model's steps are FedAvg's. Then the site's own model :math:`v` takes as many steps
    on the same batches along :math:`\nabla F_k(v) + \lambda (v - w^t)`, where :math:`w^t` is what
    the coordinator sent. It starts from what the site kept, and an array that is not there yet from
    :math:`w^t`. Its optimiser is a new one each round. Sites predict with :math:`v`.

    Parameters
    ----------
    settings : DittoSettings
        :math:`\lambda`; 0 leaves the site's own model to itself.
    """

    def __init__(self, settings: DittoSettings) -> None:
        self._settings = settings

    def finish(self, run: LocalRun, loss: float) -> tuple[dict[str, Tensor], float]:
        """As `LocalRule.finish`; the network then has the site's own weights."""
        tensors = tensors_of(run)
        with torch.no_grad():
            for name, tensor in tensors.items():
                tensor.copy_(run.memory.get(OWN + name, run.received[name]))
        run.train(lambda: pull(run, self._settings.strength))
        run.kept.update({OWN + name: one.detach().clone() for name, one in tensors.items()})
        return {}, loss
