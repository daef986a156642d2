"""FedAdagrad (Reddi et al., ICLR 2021, algorithm 2): Adagrad at the coordinator."""

from __future__ import annotations

from flwr.serverapp.strategy import FedAdagrad

from common.finetuning.strategies import AdagradSettings
from server.strategies.adaptive import Adaptive


class ServerAdagrad(Adaptive, FedAdagrad):
    """Flower's.

    Parameters
    ----------
    settings : AdagradSettings
        Rate and degree of adaptivity.
    """

    def __init__(self, settings: AdagradSettings) -> None:
        super().__init__(**settings.model_dump())
