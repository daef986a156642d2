"""Learning rates: by stage, and along a phase of the plan."""

from __future__ import annotations

import math

from common.finetuning.settings import TrainingSettings
from common.finetuning.strategies import CLASSIFIER

# Share of the largest rate that a warm-up starts from.
_START = 0.04


def rate_of(name: str, stages: int, settings: TrainingSettings) -> float:
    """Give a parameter's largest learning rate.

    Parameters
    ----------
    name : str
        The parameter, as ``trunk.STAGE...`` or ``classifier...``.
    stages : int
        Stages of the trunk.
    settings : TrainingSettings
        The rates.
    """
    if name.startswith(CLASSIFIER):
        return settings.head_lr
    stage = int(name.split(".")[1])
    return float(settings.lr * settings.stage_decay ** (stages - 1 - stage))


def share_of_rate(progress: float, settings: TrainingSettings) -> float:
    """Give the share of the largest rate at a point of a phase.

    Parameters
    ----------
    progress : float
        From 0 at the phase's start towards 1 at its end.
    settings : TrainingSettings
        The schedule: constant, or one cycle (Smith & Topin, 2018) of two half cosines.
    """
    if settings.schedule == "constant":
        return 1.0
    if progress < settings.warm_up:
        rising = 0.5 - 0.5 * math.cos(math.pi * progress / settings.warm_up)
        return _START + (1.0 - _START) * rising
    falling = (progress - settings.warm_up) / (1.0 - settings.warm_up)
    return 0.5 + 0.5 * math.cos(math.pi * falling)
