"""Every number of ``result.json`` from ``predictions.csv``, by a program that shares no code."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from simulations.studies import STUDIES
from simulations.studies.base import Pair
from simulations.studies.cells import evaluate
from simulations.studies.groups import GROUPINGS
from simulations.studies.image_table import make_image_table
from simulations.studies.lab import Lab
from simulations.studies.result import comparisons
from simulations.studies.series import Repetition, Series
from tests.simulations.report.recompute import Rows, cell_rows, metric, read
from tests.simulations.studies.conftest import REAL_DRAWS
from tests.simulations.studies.resampled import resampled
from tests.simulations.studies.study_lab import CLASSES, make_cohort, make_lab

Json = dict[str, Any]
RealStudy = Callable[[str], Path]
OVERALL = ("balanced_accuracy", "macro_auc", "brier_score", "malignant_sensitivity", "f1:nv")


def open_result(folder: Path) -> Json:
    result: Json = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return result


def rows_of(cell: Json, table: Rows) -> Rows:
    where = (cell["learner"], cell["model"], cell["condition"], cell["by"], cell["group"])
    return cell_rows(table, *where)


def seeds_of(rows: Rows) -> list[Rows]:
    return [
        rows.only("split_seed", seed) for seed in sorted(set(rows.column("split_seed").tolist()))
    ]


def same(told: float | None, wanted: float) -> bool:
    if told is None or np.isnan(wanted):
        return told is None and bool(np.isnan(wanted))
    # Probabilities are float32: a mean over images is as near as this.
    return bool(np.isclose(told, wanted, rtol=1e-6, atol=1e-7))


def test_every_metric_of_every_cell_is_scikit_learns_with_two_seeds(real_study: RealStudy) -> None:
    folder = real_study("leave-one-site-out")
    result = open_result(folder)
    cohort = result["cohort"]
    table = read(folder, cohort["classes"])
    assert set(table.column("split_seed").tolist()) == {"1", "2"}
    # Of ridge five series, of the baselines four; of each, all images and those of four sites.
    assert len(result["cells"]) == 9 * 5
    checked = 0
    for cell in result["cells"]:
        rows = rows_of(cell, table)
        for name, (value, _, _) in cell["metrics"].items():
            assert same(value, metric(rows, name, cohort["malignant"])), (cell["group"], name)
            checked += 1
        for name in OVERALL:
            for seed, told in zip(seeds_of(rows), cell["by_seed"].get(name, ()), strict=False):
                assert same(told, metric(seed, name, cohort["malignant"]))
    assert checked > 50 * 30


def test_counts_of_a_cell_are_those_of_its_rows(real_study: RealStudy) -> None:
    folder = real_study("leave-one-site-out")
    result = open_result(folder)
    classes = result["cohort"]["classes"]
    table = read(folder, classes)
    for cell in result["cells"]:
        rows = rows_of(cell, table)
        matrix = confusion_matrix(rows.y, rows.predicted, labels=classes)
        np.testing.assert_array_equal(cell["confusion"], matrix)
        assert cell["images"] == [len(seed) for seed in seeds_of(rows)]
        lesions = rows.column("lesion_id")
        assert cell["lesions"] == len(set(lesions.tolist()))
        assert cell["class_lesions"] == {
            c: len(set(lesions[rows.y == c].tolist())) for c in classes
        }
        assert cell["absent"] == [c for c in classes if c not in rows.y.tolist()]
        assert not {f"sensitivity:{c}" for c in cell["absent"]} & set(cell["metrics"])


@pytest.mark.parametrize("study", ["cross-site", "heterogeneity", "fairness", "learning-curve"])
def test_the_other_studies_numbers_follow_from_their_predictions(
    study: str, real_study: RealStudy
) -> None:
    folder = real_study(study)
    result = open_result(folder)
    table = read(folder, result["cohort"]["classes"])
    for cell in result["cells"]:
        rows = rows_of(cell, table)
        assert len(rows) == sum(cell["images"]) > 0
        for name in set(OVERALL) & set(cell["metrics"]):
            wanted = metric(rows, name, result["cohort"]["malignant"])
            assert same(cell["metrics"][name][0], wanted), (cell["group"], name)
    assert {cell["by"] for cell in result["cells"]} == set(STUDIES[study].by)


@pytest.mark.parametrize(
    ("model", "by", "group", "name"),
    [
        ("federated", "all", "all", "balanced_accuracy"),
        ("federated", "all", "all", "macro_auc"),
        ("personalised", "site", "rosendahl", "balanced_accuracy"),
        ("local", "site", "vidir_molemax", "accuracy"),
        ("pooled", "site", "vidir_modern", "brier_score"),
        ("shortcut", "all", "all", "f1:nv"),
        ("federated", "site", "rosendahl", "malignant_auc"),
        ("majority", "all", "all", "accuracy"),
    ],
)
def test_an_interval_is_the_documented_bootstrap_of_lesions(
    model: str, by: str, group: str, name: str, real_study: RealStudy
) -> None:
    folder = real_study("leave-one-site-out")
    result = open_result(folder)
    (cell,) = (
        cell
        for cell in result["cells"]
        if (cell["model"], cell["by"], cell["group"]) == (model, by, group)
        and cell["condition"] == "site left out"
    )
    rows = rows_of(cell, read(folder, result["cohort"]["classes"]))
    low, high = resampled(rows, name, result["cohort"]["malignant"], REAL_DRAWS)
    value, told_low, told_high = cell["metrics"][name]
    assert low is not None
    assert high is not None
    assert told_low == pytest.approx(low, rel=1e-6)
    assert told_high == pytest.approx(high, rel=1e-6)
    assert low < high
    assert value is not None


@pytest.mark.parametrize("study", ["leave-one-site-out", "cross-site", "heterogeneity", "fairness"])
def test_federated_equals_pooled_in_every_prediction_and_every_cell(
    study: str, real_study: RealStudy
) -> None:
    folder = real_study(study)
    result = open_result(folder)
    table = read(folder, result["cohort"]["classes"])
    federated, pooled = (table.only("model", model) for model in ("federated", "pooled"))
    # All sites together are compared in the other studies.
    compared = set(pooled.column("condition").tolist())
    both = np.isin(federated.column("condition"), list(compared))
    federated = Rows(federated.table, federated.classes, federated.index[both])
    keys = ("learner", "condition", "split_seed", "image_id", "y_true", "y_pred")
    predictions = [
        set(zip(*(one.column(key) for key in keys), strict=True)) for one in (federated, pooled)
    ]
    assert predictions[0] == predictions[1]
    assert len(predictions[0]) == len(federated) == len(pooled) > 0
    assert sum(entry["predictions"] for entry in result["exactness"]) == len(federated)
    assert all(entry["differ"] == 0 for entry in result["exactness"])
    cells = {
        model: {
            (c["learner"], c["condition"], c["by"], c["group"]): c
            for c in result["cells"]
            if c["model"] == model and c["condition"] in compared
        }
        for model in ("federated", "pooled")
    }
    for where, cell in cells["pooled"].items():
        other = cells["federated"][where]
        assert cell["confusion"] == other["confusion"]
        for name in ("balanced_accuracy", "macro_f1"):
            assert cell["metrics"].get(name) == other["metrics"].get(name)
    assert cells["pooled"].keys() == cells["federated"].keys()


def test_a_comparison_is_the_difference_of_two_cells_for_each_headline(
    real_study: RealStudy,
) -> None:
    result = open_result(real_study("leave-one-site-out"))
    cells = {
        (c["model"], c["condition"], c["by"], c["group"]): c["metrics"] for c in result["cells"]
    }
    pairs = set()
    for entry in result["comparisons"]:
        a, b = (tuple(entry[side].values()) for side in "ab")
        pairs.add((a, b))
        for group, found in entry["groups"].items():
            values = [cells[(*side, entry["by"], group)][entry["metric"]][0] for side in (a, b)]
            told, low, high = found["difference"]
            if None in values:
                assert told is None
                continue
            assert told == pytest.approx(values[0] - values[1], abs=1e-12)
            assert (low is None) == (found["p"] is None)
            assert low is None or low <= high
            assert found["decided"] == (found["p"] is not None and found["p_corrected"] <= 0.05)
    left = ("federated", "site left out")
    assert pairs == {
        *((left, (model, "site left out")) for model in ("shortcut", "majority", "local")),
        (left, ("federated", "site takes part")),
        (("personalised", "site left out"), left),
    }
    metrics = {"balanced_accuracy", "macro_auc", "malignant_auc", "malignant_sensitivity"}
    assert {entry["metric"] for entry in result["comparisons"]} == metrics
    assert {entry["by"] for entry in result["comparisons"]} == {"all", "site"}


def drawn_series(lab: Lab, model: str, seed: int) -> Series:
    """Predictions of two seeds of the split, better than chance."""
    parts = []
    for split_seed in (1, 2):
        rng = np.random.default_rng([seed, split_seed])
        rows = np.sort(rng.choice(len(lab.cohort), 90, replace=False))
        p = rng.dirichlet(np.ones(3), len(rows))
        p[np.arange(len(rows)), lab.cohort.y[rows]] += 0.4
        p = (p / p.sum(axis=1, keepdims=True)).astype(np.float32)
        client = lab.cohort.site[rows]
        parts.append(Repetition(split_seed, rows, client, p, p.argmax(axis=1)))
    return Series("ridge", model, "-", {}, tuple(parts))


def test_a_model_does_not_differ_from_itself() -> None:
    lab = make_lab(make_cohort())
    groupings = {name: group(lab.cohort) for name, group in GROUPINGS.items()}
    table = make_image_table(lab.cohort, groupings, draws=40, seed=0)
    one, same_again = (drawn_series(lab, model, 3) for model in ("federated", "pooled"))
    other = drawn_series(lab, "local", 4)
    study = replace(STUDIES["cross-site"], by=("all", "site", "sex"))
    found = {each.name: evaluate(each, table, study.by) for each in (one, same_again, other)}
    pair = [Pair(("federated", "-"), ("pooled", "-"))]
    entries = comparisons(study.by, pair, ["ridge"], found)
    assert len(entries) == 3 * 4
    for entry in entries:
        for group in entry["groups"].values():
            assert group["difference"] == group["simultaneous"] == [0.0, 0.0, 0.0]
            assert group["p"] == group["p_corrected"] == 1.0
            assert group["decided"] is False
    differs = comparisons(study.by, [Pair(("federated", "-"), ("local", "-"))], ["ridge"], found)
    assert any(group["difference"][0] for entry in differs for group in entry["groups"].values())
    # A series that was not made is not compared.
    assert (
        comparisons(study.by, [Pair(("federated", "-"), ("shortcut", "-"))], ["ridge"], found) == []
    )


def test_a_class_that_no_image_is_of_is_named_and_in_no_mean() -> None:
    cohort = make_cohort()
    wider = replace(cohort, classes=(*CLASSES, "vasc"))
    lab = make_lab(cohort)
    groupings = {"all": np.full(len(cohort), "all")}

    def cell(on: Lab, extra: int) -> Json:
        series = drawn_series(lab, "federated", 3)
        parts = tuple(
            replace(part, probabilities=np.pad(part.probabilities, ((0, 0), (0, extra))))
            for part in series.repetitions
        )
        table = make_image_table(on.cohort, groupings, draws=10, seed=0)
        (found,) = evaluate(replace(series, repetitions=parts), table, ("all",)).cells
        return found

    narrow, wide = cell(lab, 0), cell(replace(lab, cohort=wider), 1)
    assert narrow["absent"] == []
    assert wide["absent"] == ["vasc"]
    for name, values in narrow["metrics"].items():
        assert wide["metrics"][name] == pytest.approx(values)
    assert set(wide["metrics"]) == set(narrow["metrics"])
    assert wide["class_lesions"]["vasc"] == 0
