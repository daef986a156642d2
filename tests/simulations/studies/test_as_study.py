"""A simulation's result in the form of a study's: the same numbers from the same predictions."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.settings import RunSettings
from common.split import split_groups
from simulations.as_study import write_as_study
from simulations.predictions import Predictions
from simulations.studies.lab import Lab
from tests.simulations.report.recompute import Rows, cell_rows, confusion, interval, metric, read
from tests.simulations.studies.study_lab import CLASSES

Json = dict[str, Any]


@pytest.fixture(scope="module")
def run(site_run: tuple[Path, Any]) -> tuple[Json, Rows]:
    result: Json = json.loads((site_run[0] / "result.json").read_text(encoding="utf-8"))
    return result, read(site_run[0], result["cohort"]["classes"])


def test_every_metric_of_every_cell_is_scikit_learns_on_the_test_rows(
    run: tuple[Json, Rows],
) -> None:
    result, table = run
    assert {cell["by"] for cell in result["cells"]} == {
        *("all", "site", "sex", "age_band", "localisation", "label_source"),
    }
    checked = 0
    for cell in result["cells"]:
        where = (cell["learner"], cell["model"], cell["condition"], cell["by"], cell["group"])
        rows = cell_rows(table, *where)
        assert cell["images"] == [len(rows)]
        for name, (value, _, _) in cell["metrics"].items():
            wanted = metric(rows, name, result["cohort"]["malignant"])
            if value is None:
                assert wanted != wanted
            else:
                assert value == pytest.approx(wanted, rel=1e-6, abs=1e-7)
            checked += 1
        for a, truth in enumerate(table.classes):
            for b, called in enumerate(table.classes):
                assert cell["confusion"][a][b] == confusion(rows, truth, called)
    assert checked > 400


def test_cells_are_of_test_images_though_the_table_has_all(
    run: tuple[Json, Rows], site_run: tuple[Path, Any]
) -> None:
    result, table = run
    with (site_run[0] / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == result["cohort"]["images"] == 240
    assert {row["split"] for row in rows} == {"train", "validation", "test"}
    (everything,) = (cell for cell in result["cells"] if cell["by"] == "all")
    assert everything["images"] == [len(table)]
    assert len(table) < 240
    assert len(table) == result["test"]["pooled"]["n"]
    told = result["test"]["pooled"]["balanced_accuracy"]
    assert everything["metrics"]["balanced_accuracy"][0] == pytest.approx(told)


def test_the_interval_is_the_documented_bootstrap(run: tuple[Json, Rows]) -> None:
    result, table = run
    (everything,) = (cell for cell in result["cells"] if cell["by"] == "all")
    settings = result["settings"]
    low, high = interval(table, f"dermafed:{settings['seed']}".encode(), settings["draws"])
    assert everything["metrics"]["balanced_accuracy"][1:] == pytest.approx([low, high])


def test_exactness_and_costs_are_those_of_the_run(run: tuple[Json, Rows]) -> None:
    result, _ = run
    assert (result["kind"], result["study"]) == ("study", "simulate")
    (exact,) = result["exactness"]
    assert exact["differ"] == result["oracle"]["predictions_that_differ"] == 0
    assert exact["predictions"] == 240
    pooled = result["test"]["pooled"]
    wanted = abs(pooled["macro_auc"] - pooled["macro_auc_from_sums"])
    assert exact["auc_error"] == pytest.approx(wanted, abs=1e-12)
    (cost,) = result["costs"]
    assert (cost["rounds"], cost["bytes_up"]) == (result["rounds"], result["bytes_up"])


def test_simulated_sites_are_groups_beside_those_of_acquisition(lab: Lab, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    n = len(lab.cohort)
    p = rng.dirichlet(np.ones(len(CLASSES)), n)
    client = rng.choice(["site-0", "site-1"], n)
    split = split_groups(1, lab.cohort.group)
    predictions = Predictions(np.arange(n), client, split, p, lab.x, np.ones(n, dtype=np.bool_))
    auc: Json = {"pooled": {"macro_auc": 0.75}, "from_sums": {"pooled": {"macro_auc": 0.5}}}
    result: Json = {
        "oracle": {"predictions_that_differ": 7},
        "test": auc,
        "seconds": {"learn": 1.5},
        "rounds": 2,
        "bytes_up": 30,
        "bytes_down": 40,
    }
    settings = RunSettings(partition="iid:2", draws=5, backbone="tiny")
    shared = write_as_study(tmp_path, settings, lab.cohort, predictions, result)
    cells = [cell for cell in shared["cells"] if cell["by"] == "client"]
    assert [cell["group"] for cell in cells] == ["site-0", "site-1"]
    for cell in cells:
        own = (client == cell["group"]) & (split == "test")
        right = p[own].argmax(axis=1) == lab.cohort.y[own]
        assert cell["metrics"]["accuracy"][0] == pytest.approx(right.mean())
        assert cell["about"] == {"partition": "iid:2"}
    (exact,) = shared["exactness"]
    assert (exact["differ"], exact["auc_error"]) == (7, 0.25)
    # What cannot be compared is no error.
    auc["from_sums"]["pooled"]["macro_auc"] = None
    shared = write_as_study(tmp_path, settings, lab.cohort, predictions, result)
    assert shared["exactness"][0]["auc_error"] == 0.0
