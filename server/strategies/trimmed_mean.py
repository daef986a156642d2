"""Trimmed mean (Yin et al., ICML 2018, definition 2): each entry without its extremes."""

from __future__ import annotations

from flwr.serverapp.strategy import FedTrimmedAvg

from common.finetuning.strategies import TrimmedSettings
from server.strategies.base import Aggregation


class TrimmedMean(Aggregation, FedTrimmedAvg):
    """Flower's; sites weigh alike, and ``int(beta * sites)`` of them are left out at either end.

    Parameters
    ----------
    settings : TrimmedSettings
        The share that is left out.
    """

    def __init__(self, settings: TrimmedSettings) -> None:
        super().__init__(beta=settings.beta)
