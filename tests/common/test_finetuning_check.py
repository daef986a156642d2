"""Settings of fine-tuning that cannot work are refused before any site does any work."""

from __future__ import annotations

import pytest

from common.errors import SettingsError
from common.finetuning.check import check_finetuning, check_site_count
from common.finetuning.plan import Phase
from common.finetuning.strategies import STRATEGIES
from common.settings import RunSettings


def run(**changes: str) -> RunSettings:
    return RunSettings.from_run_config({"strategy": "fedavg", **changes})


def test_a_right_run_gives_its_plan() -> None:
    # EfficientNet-Lite0's trunk has nine stages.
    plan = check_finetuning(run(training="plan=head:2,3:4,all:5"))
    assert plan == (Phase(0, 2), Phase(3, 4), Phase(9, 5))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_only_a_strategy_that_keeps_the_head_at_its_site_may_not_begin_with_it(
    strategy: str,
) -> None:
    begins = run(strategy=strategy, training="plan=head:1,all:1")
    if strategy in {"fedper", "fedrep"}:
        with pytest.raises(SettingsError, match=f"training setting plan: {strategy} leaves the "):
            check_finetuning(begins)
    else:
        check_finetuning(begins)
    check_finetuning(run(strategy=strategy, training="plan=1:1,all:1"))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"strategy": "fedsome"}, "strategy 'fedsome' is unknown"),
        ({"strategy-settings": "mu=1"}, "strategy settings: mu: unknown"),
        ({"training": "plan=12:1"}, "deeper than the trunk's 9 stages"),
        ({"training": "steps=0"}, "training settings: steps"),
        ({"backbone": "no-such"}, "backbone 'no-such' is unknown"),
    ],
)
def test_a_wrong_setting_is_named(changes: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        check_finetuning(run(**changes))


@pytest.mark.parametrize("hostile", [1, 2, 5])
def test_krum_needs_more_than_twice_the_hostile_sites_and_two(hostile: int) -> None:
    # Blanchard et al., NeurIPS 2017, proposition 1: 2f + 2 < n.
    settings = run(strategy="krum", **{"strategy-settings": f"hostile={hostile}"})
    check_site_count(settings, 2 * hostile + 3)
    with pytest.raises(SettingsError, match="strategy setting hostile: krum needs"):
        check_site_count(settings, 2 * hostile + 2)


def test_others_do_with_one_site() -> None:
    check_site_count(run(strategy="krum"), 1)
    check_site_count(run(), 1)
    check_site_count(RunSettings(), 1)
