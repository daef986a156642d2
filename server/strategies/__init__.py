"""Strategies of fine-tuning: the coordinator's half, one file each, on Flower's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from common.finetuning.strategies import STRATEGIES, StrategySettings, read_strategy
from server.strategies.base import Aggregation
from server.strategies.fedadagrad import ServerAdagrad
from server.strategies.fedadam import ServerAdam
from server.strategies.fedavgm import ServerMomentum
from server.strategies.fednova import Normalised
from server.strategies.fedprox import Proximal
from server.strategies.fedyogi import ServerYogi
from server.strategies.krum import CentredKrum
from server.strategies.median import Median
from server.strategies.qfedavg import Fair
from server.strategies.scaffold import Scaffold
from server.strategies.shared_moments import SharedMoments
from server.strategies.trimmed_mean import TrimmedMean

__all__ = ["Aggregation", "make_strategy"]


def _plain(kind: Callable[[], Aggregation]) -> Callable[[StrategySettings], Aggregation]:
    return lambda _settings: kind()


# All that is FedBN's, FedPer's, FedRep's, Ditto's, MOON's and gradual SAM's happens at the site:
# what reaches the coordinator is averaged.
_AT_THE_SITE = ("fedbn", "fedper", "fedrep", "ditto", "moon", "gradual-sam")

_MAKERS: Mapping[str, Callable[[Any], Aggregation]] = {
    "fedavg": _plain(Aggregation),
    "fedavgm": ServerMomentum,
    "fedprox": Proximal,
    "fedadam": ServerAdam,
    "fedyogi": ServerYogi,
    "fedadagrad": ServerAdagrad,
    "qfedavg": Fair,
    "trimmed-mean": TrimmedMean,
    "median": _plain(Median),
    "krum": CentredKrum,
    "scaffold": _plain(Scaffold),
    "fednova": _plain(Normalised),
    "shared-moments": _plain(SharedMoments),
    **dict.fromkeys(_AT_THE_SITE, _plain(Aggregation)),
}
if _MAKERS.keys() != STRATEGIES.keys():
    raise RuntimeError("strategies of the coordinator and of the list differ")


def make_strategy(name: str, settings: str) -> Aggregation:
    """Make the coordinator's half of a strategy, without a memory.

    Parameters
    ----------
    name : str
        Key of `common.finetuning.strategies.STRATEGIES`.
    settings : str
        ``"key=value key=value"``.

    Raises
    ------
    SettingsError
        If the strategy or a setting is unknown or out of bounds.
    """
    read = read_strategy(name, settings)
    return _MAKERS[name](read)
