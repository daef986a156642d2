"""The comparison: which federations it runs, and how its table and figure tell of them."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from common.errors import SettingsError, StudyError
from simulations.studies.base import Plan
from simulations.studies.class_weight import with_class_weight
from simulations.studies.compare import STUDY
from simulations.studies.comparison_figure import FIGURE_FILE, draw_comparison
from simulations.studies.comparison_table import rows_of, show_comparison
from simulations.studies.fit import BASELINE
from simulations.studies.options import StudyOptions

PLAN = Plan(
    sites=("a", "b"),
    learners=("ridge", "forest min_leaf=5"),
    split_seeds=(7,),
    backbones=("one", "two"),
    treatments=("none", "weights", "smote neighbours=3"),
    turns=5,
)


def test_every_combination_is_run_in_every_turn_of_the_split() -> None:
    fits = STUDY.fits(PLAN)
    federated = [fit for fit in fits if fit.learner != BASELINE]
    combinations = Counter((fit.learner, fit.condition) for fit in federated)
    assert len(combinations) == 2 * 2 * 3
    assert set(combinations.values()) == {5}
    assert len(set(fits)) == len(fits) == 5 * 12 + 5
    assert {fit.turn for fit in fits} == {0, 1, 2, 3, 4}
    for fit in federated:
        about = STUDY.label(fit, "federated").about
        assert about["backbone"] == fit.backbone
        assert (fit.class_weight == "balanced") == (about["treatment"] == "weights")
        assert bool(fit.imbalance) == (about["treatment"] == "smote neighbours=3")


def test_treatments_and_backbones_are_compared_with_the_first_and_with_the_shortcut() -> None:
    found = {(*pair.a, *pair.b) for pair in STUDY.pairs(PLAN)}
    first, shortcut = "one, none", "any features"
    assert ("federated", "one, weights", "federated", first) in found
    assert ("federated", "two, weights", "federated", "two, none") in found
    assert ("federated", "two, none", "federated", first) in found
    assert ("federated", "one, smote neighbours=3", "shortcut", shortcut) in found
    assert len(found) == 4 + 3 + 3


@pytest.mark.parametrize(
    ("learner", "text", "weight", "wanted"),
    [
        ("ridge", "pca=3", "none", {"pca": "3", "class_weight": "none"}),
        ("forest", "", "balanced", {"class_weight": "balanced"}),
        ("lda", "", "none", {"priors": "empirical"}),
        ("ncm", "", "balanced", {"priors": "uniform"}),
        ("ridge", "class_weight=none", "balanced", {"class_weight": "none"}),
        ("ridge", "", "", {}),
    ],
)
def test_classes_are_weighted_where_a_learner_can_and_its_text_leaves_it_open(
    learner: str, text: str, weight: str, wanted: dict[str, str]
) -> None:
    assert with_class_weight(learner, text, weight) == wanted


def test_what_cannot_be_compared_is_refused_before_any_work() -> None:
    def check(**changes: Any) -> None:
        StudyOptions(Path("c"), Path("o"), Path("x"), **changes).check()

    check(backbones=("efficientnet_lite0",), treatments=("none", "weights", "smote"), turns=5)
    with pytest.raises(SettingsError, match="smoot"):
        check(treatments=("smoot",))
    with pytest.raises(SettingsError, match="no_net"):
        check(backbones=("no_net",))
    for turns in (0, 6):
        with pytest.raises(StudyError, match="--turns: must be from 1 to 5"):
            check(turns=turns)
    with pytest.raises(StudyError, match="--imbalance: a value stands twice"):
        check(treatments=("none", "none"))


def _cell(learner: str, treatment: str, by: str, group: str, value: float | None) -> Any:
    metrics = {} if value is None else {"balanced_accuracy": [value, value - 0.1, value + 0.1]}
    return {
        "learner": learner,
        "model": "federated",
        "condition": f"net, {treatment}",
        "about": {"backbone": "net", "treatment": treatment},
        "by": by,
        "group": group,
        "metrics": metrics,
    }


def _result() -> dict[str, Any]:
    cells = []
    for learner, treatment, value in (("ridge", "none", 0.4), ("ridge", "smote", 0.6)):
        cells.append(_cell(learner, treatment, "all", "all", value))
        for site, less in (("north", 0.05), ("south", 0.2), ("empty", None)):
            own = None if less is None else value - less
            cells.append(_cell(learner, treatment, "site", site, own))
    cost = {"rounds": 2, "bytes_up": 2**21, "model_bytes": 2**19, "milliseconds": 0.5, "seconds": 3}
    costs = [
        {"learner": "ridge", "model": "federated", "condition": f"net, {treatment}", **cost}
        for treatment in ("none", "smote")
    ]
    fits = {"all": 10, "this_time": 10}
    return {"cells": cells, "costs": costs, "fits": fits, "settings": {"turns": 5}}


def test_the_table_has_the_best_first_with_its_worst_site_and_its_costs(tmp_path: Path) -> None:
    first, second = rows_of(_result())
    assert (first.treatment, second.treatment) == ("smote", "none")
    assert first.worst_site is not None
    assert first.worst_site[0] == "south"
    assert first.worst_site[1] == pytest.approx(0.4)
    console = Console(width=200, record=True, file=io.StringIO())
    show_comparison(console, _result(), tmp_path)
    text = console.export_text()
    assert "0.600 (0.500-0.700)" in text
    assert "every image tested once" in text
    assert "2.0" in text


def test_the_figure_is_the_same_each_time_and_holds_each_value(tmp_path: Path) -> None:
    drawn = []
    for _ in range(2):
        draw_comparison(_result(), tmp_path)
        drawn.append((tmp_path / FIGURE_FILE).read_text(encoding="utf-8"))
    assert drawn[0] == drawn[1]
    assert all(text in drawn[0] for text in ("0.400", "0.600", "ridge", "smote"))
