"""Whether a run's settings of fine-tuning can be what they are, before any site does any work."""

from __future__ import annotations

from common.backbones import get_backbone
from common.errors import SettingsError
from common.finetuning.plan import Phase, parse_plan
from common.finetuning.strategies import KrumSettings, read_strategy, strategy_kind, training_of
from common.imbalance.check import check_imbalance
from common.learners import LEARNERS, LINEAR, SHIPPING
from common.metadata.check import check_metadata
from common.settings import RunSettings


def check_finetuning(settings: RunSettings) -> tuple[Phase, ...]:
    """Check strategy, training and plan; give the plan.

    Raises
    ------
    SettingsError
        Naming the setting.
    """
    known = {*LEARNERS, *SHIPPING}
    if settings.learner in known and settings.learner not in LINEAR:
        raise SettingsError(
            f"learner {settings.learner}: is no linear head, with which fine-tuning begins; choose "
            f"one of: {', '.join(LINEAR)}"
        )
    read_strategy(settings.strategy, settings.strategy_settings)
    check_imbalance(settings)
    check_metadata(settings)
    training = training_of(settings.strategy, settings.training)
    backbone = get_backbone(settings.backbone)
    if not backbone.stages:
        raise SettingsError(f"backbone {settings.backbone}: has no stages, so it is not fine-tuned")
    plan = parse_plan(training.plan, backbone.stages)
    if strategy_kind(settings.strategy).personal_head and plan[0].depth == 0:
        raise SettingsError(
            f"training setting plan: {settings.strategy} leaves the head at its site, so the plan "
            "cannot begin with it; begin with a number of stages, or all"
        )
    return plan


def check_site_count(settings: RunSettings, sites: int) -> None:
    """Check that a strategy has as many sites as it needs.

    Parameters
    ----------
    settings : RunSettings
        The run, by sums or of fine-tuning.
    sites : int
        Those that will take part.

    Raises
    ------
    SettingsError
        Naming the setting.
    """
    if settings.strategy != "krum":
        return
    found = read_strategy(settings.strategy, settings.strategy_settings)
    hostile = found.hostile if isinstance(found, KrumSettings) else 0
    if hostile and sites <= 2 * hostile + 2:
        raise SettingsError(
            f"strategy setting hostile: krum needs {2 * hostile + 3} sites against {hostile} "
            f"hostile, and the run has {sites}; lower it"
        )
