"""The plan of staged unfreezing."""

from __future__ import annotations

import pytest

from common.errors import SettingsError
from common.finetuning.plan import Phase, Place, parse_plan, place_of, total_rounds
from common.finetuning.strategies import training_of


def test_a_plan_goes_from_the_head_down() -> None:
    plan = parse_plan("head:2, 1:5,all:20", 9)
    assert plan == (Phase(0, 2), Phase(1, 5), Phase(9, 20))
    assert total_rounds(plan) == 27
    assert place_of(plan, 2) == Place(Phase(0, 2), 1)
    assert place_of(plan, 3) == Place(Phase(1, 5), 0)
    assert place_of(plan, 27) == Place(Phase(9, 20), 19)
    for number in (0, 28):
        with pytest.raises(ValueError, match="the plan has 27"):
            place_of(plan, number)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "not DEPTH:ROUNDS"),
        ("all", "not DEPTH:ROUNDS"),
        ("all:0", "not DEPTH:ROUNDS"),
        ("-1:2", "not DEPTH:ROUNDS"),
        ("10:1", "deeper than the trunk's 9 stages"),
        ("2:1,2:1", "goes no deeper"),
        ("all:1,head:1", "goes no deeper"),
    ],
)
def test_what_is_no_plan_is_refused(text: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem):
        parse_plan(text, 9)


def test_fedbn_keeps_norms_local_and_ditto_refuses_them() -> None:
    assert training_of("fedavg", "").norm == "frozen"
    assert training_of("fedbn", "").norm == "local"
    with pytest.raises(SettingsError, match="not for ditto"):
        training_of("ditto", "norm=local")
