"""FedYogi (Reddi et al., ICLR 2021, algorithm 2): Yogi at the coordinator."""

from __future__ import annotations

from flwr.serverapp.strategy import FedYogi

from common.finetuning.strategies import AdaptiveSettings
from server.strategies.adaptive import Adaptive


class ServerYogi(Adaptive, FedYogi):
    """Flower's.

    Parameters
    ----------
    settings : AdaptiveSettings
        Rate, decays and degree of adaptivity.
    """

    def __init__(self, settings: AdaptiveSettings) -> None:
        super().__init__(**settings.model_dump())
