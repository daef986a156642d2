"""The comparison: which federations it runs, and how its table and figure tell of them."""

from __future__ import annotations

import io
import re
from collections import Counter
from dataclasses import replace
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


def test_views_and_networks_stand_beside_the_heads_on_the_same_turns() -> None:
    strategies = ("fedavg", "fedprox mu=0.1")
    plan = replace(PLAN, views=(0, 4), strategies=strategies, tuned=PLAN.backbones)
    plan = replace(plan, training="plan=all:3")
    fits = STUDY.fits(plan)
    tuned = [fit for fit in fits if fit.learner in strategies]
    assert Counter((fit.backbone, fit.turn) for fit in tuned) == {
        (backbone, turn): 2 for backbone in ("one", "two") for turn in range(5)
    }
    assert {fit.training for fit in tuned} == {"plan=all:3"}
    assert {STUDY.label(fit, "fine-tuned").about["treatment"] for fit in tuned} == {"sampling"}
    heads = [fit for fit in fits if fit.learner in PLAN.learners]
    assert Counter(fit.views for fit in heads) == {0: 60, 4: 60}
    assert len({(fit.learner, fit.condition) for fit in heads}) == 24
    assert len(set(fits)) == len(fits)


def test_features_that_are_only_frozen_stand_beside_a_network_that_is_fine_tuned() -> None:
    lite = "efficientnet_lite0"
    several = (f"{lite}+levels:5+truncate:8", lite)
    options = StudyOptions(Path("c"), Path("o"), Path("x"), backbones=several)
    assert options.tuned == ()
    assert replace(options, strategies=("fedavg",)).tuned == (lite,)
    plan = replace(PLAN, backbones=several, strategies=("fedavg",), tuned=(lite,))
    tuned = [fit for fit in STUDY.fits(plan) if fit.learner == "fedavg"]
    assert [fit.backbone for fit in tuned] == [lite] * 5


def test_networks_are_compared_with_heads_that_have_seen_the_most_views() -> None:
    plan = replace(PLAN, views=(0, 4), strategies=("fedavg",), tuned=("two",))
    found = {(pair.learners, *pair.a, *pair.b) for pair in STUDY.pairs(plan) if pair.learners}
    assert len(found) == 2 * 2 * 3
    assert {pair[1:3] for pair in found} == {("fine-tuned", "two, fine-tuned")}
    learners = ("fedavg", "forest min_leaf=5")
    tuned = ("fine-tuned", "two, fine-tuned")
    assert (learners, *tuned, "federated", "two, weights, views 4") in found
    assert (learners, *tuned, "federated", "one, weights, views 4") in found
    plain = {(*pair.a, *pair.b) for pair in STUDY.pairs(plan) if not pair.learners}
    assert ("federated", "one, none, views 4", "federated", "one, none") in plain


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
        (
            "soft-vote",
            "members=ridge:pca=3,lda,svm:class_weight=none",
            "balanced",
            {
                "members": "ridge:pca=3:class_weight=balanced,lda:priors=uniform,"
                "svm:class_weight=none"
            },
        ),
        ("local-vote", "", "none", {"base": "svm:class_weight=none"}),
        (
            "stack",
            "members=lda",
            "none",
            {"members": "lda:priors=empirical", "class_weight": "none"},
        ),
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
    lite = ("efficientnet_lite0",)
    check(backbones=lite, views=(0, 4), strategies=("fedavg",), training="plan=2:3")
    for views in ((-1,), (0, 65)):
        with pytest.raises(StudyError, match="--views: must be from 0 to 64"):
            check(views=views)
    with pytest.raises(SettingsError, match="fedavgg"):
        check(backbones=lite, strategies=("fedavgg",))
    with pytest.raises(SettingsError, match="steeps"):
        check(backbones=lite, training="steeps=3")
    with pytest.raises(
        StudyError, match=r"--strategy: no backbone of efficientnet_lite0\+flip has"
    ):
        check(backbones=("efficientnet_lite0+flip",), strategies=("fedavg",))


def _cell(
    learner: str,
    treatment: str,
    by: str,
    group: str,
    value: float | None,
    model: str = "federated",
) -> Any:
    metrics = {} if value is None else {"balanced_accuracy": [value, value - 0.1, value + 0.1]}
    return {
        "learner": learner,
        "model": model,
        "condition": f"net, {treatment}",
        "about": {"backbone": "net", "treatment": treatment, "views": 0},
        "by": by,
        "group": group,
        "metrics": metrics,
    }


def _result() -> dict[str, Any]:
    cells = []
    rows = (
        ("ridge", "federated", "none", 0.4),
        ("ridge", "federated", "smote", 0.6),
        ("fedavg", "fine-tuned", "sampling", 0.55),
    )
    for learner, model, treatment, value in rows:
        cells.append(_cell(learner, treatment, "all", "all", value, model))
        for site, less in (("north", 0.05), ("south", 0.2), ("empty", None)):
            own = None if less is None else value - less
            cells.append(_cell(learner, treatment, "site", site, own, model))
    cost = {"rounds": 2, "bytes_up": 2**21, "model_bytes": 2**19, "milliseconds": 0.5, "seconds": 3}
    costs = [
        {"learner": learner, "model": model, "condition": f"net, {treatment}", **cost}
        for learner, model, treatment, _ in rows
    ]
    return {
        "cells": cells,
        "costs": costs,
        "fits": {"all": 10, "this_time": 10},
        "settings": {"turns": 5, "training": ""},
        "networks": {"net": {"bytes": 2.0**20, "milliseconds": 8.0}},
    }


def test_the_table_has_the_best_first_with_its_worst_site_and_its_costs(tmp_path: Path) -> None:
    first, tuned, last = rows_of(_result())
    assert (first.treatment, tuned.treatment, last.treatment) == ("smote", "sampling", "none")
    assert (first.views, tuned.views) == ("0", "each step")
    # Of network and head; what is fine-tuned sees an image and its mirror image.
    assert (first.cost["model_bytes"], tuned.cost["model_bytes"]) == (1.5 * 2**20, 1.5 * 2**20)
    assert (first.cost["milliseconds"], tuned.cost["milliseconds"]) == (8.5, 16.5)
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
    assert all(
        text in drawn[0] for text in ("0.400", "0.600", "0.550", "ridge", "smote", "fine-tuned")
    )


def test_a_long_name_leaves_the_figure_room_for_its_cells(tmp_path: Path) -> None:
    result, name = _result(), "soft-vote members=" + ",".join(["logistic:pca=128"] * 9)
    for cell in result["cells"]:
        if cell["learner"] == "ridge":
            cell["learner"] = name
    draw_comparison(result, tmp_path)
    drawn = (tmp_path / FIGURE_FILE).read_text(encoding="utf-8")
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", drawn)
    assert "".join(texts).replace(" ", "").count("logistic:pca=128") == 9
    assert max(map(len, texts)) < 60, "the title's length, and no name's"
    # The cells' first and last columns lie an inch or more apart, in points.
    ends = [
        float(x)
        for x in re.findall(r'<g id="xtick_\d+">.*?<use [^>]*x="([\d.]+)"', drawn, re.DOTALL)
    ]
    assert max(ends) - min(ends) > 72
