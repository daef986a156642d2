"""q-FedAvg (Li et al., ICLR 2020, algorithm 2): sites with a larger loss count more."""

from __future__ import annotations

from flwr.serverapp.strategy import QFedAvg

from common.finetuning.strategies import FairSettings
from server.strategies.base import LOSS, Aggregation


class Fair(Aggregation, QFedAvg):
    """Flower's.

    Parameters
    ----------
    settings : FairSettings
        Power of the loss, and what stands for the inverse of its Lipschitz constant.
    """

    def __init__(self, settings: FairSettings) -> None:
        super().__init__(
            client_learning_rate=settings.lipschitz_lr, q=settings.q, train_loss_key=LOSS
        )
