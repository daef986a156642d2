"""FedAdam (Reddi et al., ICLR 2021, algorithm 2): Adam at the coordinator.

Flower corrects the moments' bias, as Adam does, for one round more than there were.
"""

from __future__ import annotations

from flwr.serverapp.strategy import FedAdam

from common.finetuning.strategies import AdaptiveSettings
from server.strategies.adaptive import Adaptive


class ServerAdam(Adaptive, FedAdam):
    """Flower's.

    Parameters
    ----------
    settings : AdaptiveSettings
        Rate, decays and degree of adaptivity.
    """

    def __init__(self, settings: AdaptiveSettings) -> None:
        super().__init__(**settings.model_dump())
