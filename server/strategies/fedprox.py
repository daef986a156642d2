"""FedProx (Li et al., MLSys 2020): the coordinator averages; the proximal term is the site's."""

from __future__ import annotations

from flwr.serverapp.strategy import FedProx

from common.finetuning.strategies import ProximalSettings
from server.strategies.base import Aggregation


class Proximal(Aggregation, FedProx):
    """Flower's.

    Parameters
    ----------
    settings : ProximalSettings
        Weight of the term.
    """

    def __init__(self, settings: ProximalSettings) -> None:
        super().__init__(proximal_mu=1.0)
        # Flower's constructor warns of 0, which is allowed.
        self.proximal_mu = settings.mu
