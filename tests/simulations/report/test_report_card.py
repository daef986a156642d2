"""The model card: every item of both guidelines, filled or left to a person by name."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from simulations.report.card_facts import plain
from simulations.report.checklist import Checklist
from simulations.report.clear_derm import CLEAR_DERM
from simulations.report.loading import Run
from simulations.report.model_card import model_card
from simulations.report.tripod_ai import TRIPOD_AI

LoadedRun = Callable[..., Run]
STUDIES = (
    *("leave-one-site-out", "cross-site", "heterogeneity", "learning-curve", "fairness"),
    "compare",
)
# Parts of each main item of TRIPOD+AI, as its checklist prints them.
PARTS = {3: "abc", 5: "ab", 6: "abc", 8: "abc", 9: "abc", 12: "abcdefg", 18: "abcdef", 20: "abc",
         23: "ab", 27: "abc"}  # fmt: skip


def test_tripod_ai_is_complete() -> None:
    wanted = [f"{main}{part}" for main in range(1, 28) for part in PARTS.get(main, " ")]
    assert [item.number for item in TRIPOD_AI.items] == [number.strip() for number in wanted]
    assert len(TRIPOD_AI.items) == 52


def test_clear_derm_is_complete() -> None:
    assert [item.number for item in CLEAR_DERM.items] == [str(n) for n in range(1, 26)]
    sections = list(dict.fromkeys(item.section for item in CLEAR_DERM.items))
    assert sections == ["Data", "Technique", "Technical assessment", "Application"]


@pytest.mark.parametrize("checklist", [TRIPOD_AI, CLEAR_DERM], ids=lambda one: one.title)
def test_each_item_is_filled_or_left_to_a_person(checklist: Checklist) -> None:
    assert all(item.fill is not None or item.person for item in checklist.items)


@pytest.mark.parametrize("study", STUDIES)
def test_a_card_tells_every_item_and_the_results_by_site(study: str, loaded: LoadedRun) -> None:
    card = model_card([loaded(study)])
    headings = re.findall(r"^## (.*)$", card, re.MULTILINE)
    assert headings == [
        *("Model details", "Intended use", "Data", f"Results: {study}", "Limits"),
        *("TRIPOD+AI", "CLEAR Derm"),
    ]
    items = re.findall(r"^- \*\*(\d+[a-g]?)\. .*\.\*\* \S", card, re.MULTILINE)
    assert len(items) == 52 + 25
    assert "Not a medical device" in card
    assert "To be filled by a person" in card


def test_results_stand_with_intervals_by_site(loaded: LoadedRun) -> None:
    run = loaded("leave-one-site-out")
    row = next(
        line for line in model_card([run]).splitlines() if line.startswith("| vienna\\_dias |")
    )
    cell = next(
        c
        for c in run.study.cells
        if (c.learner, c.model, c.condition, c.group)
        == ("ridge", "federated", "site left out", "vienna_dias")
    )
    value, low, high = cell.metrics["balanced_accuracy"]
    assert f"| {cell.lesions} | {value:.2f} ({low:.2f} to {high:.2f})†" in row


def test_names_from_data_are_no_markup(loaded: LoadedRun) -> None:
    card = model_card([loaded("leave-one-site-out")])
    assert not re.search(r"(?<!\\)<", card)
    tables = [line for line in card.splitlines() if line.startswith("|")]
    cells = [len(re.findall(r"(?<!\\)\|", line)) for line in tables]
    assert len(set(cells)) == 1
    assert plain("a|b <i> *c* `d` [e](f)\ng") == ("a\\|b \\<i\\> \\*c\\* \\`d\\` \\[e\\](f) g")


def test_a_card_of_several_runs_has_results_of_each(loaded: LoadedRun) -> None:
    card = model_card([loaded("leave-one-site-out"), loaded("fairness")])
    assert "## Results: leave-one-site-out (leave-one-site-out)" in card
    assert "## Results: fairness (fairness)" in card
    assert card.count("## TRIPOD+AI") == 1


def test_skin_colour_in_a_card_has_its_confound(loaded: LoadedRun) -> None:
    item = "8. Skin colour and how it was determined"
    with_tone = model_card([loaded("fairness")])
    assert "confounded with camera" in with_tone[with_tone.index(item) :]
    without = model_card([loaded("simulate")])
    assert "no result by skin colour" in without[without.index(item) :]
