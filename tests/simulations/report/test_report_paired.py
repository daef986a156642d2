"""Simulations that tested the same images are compared, image by image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from simulations.report.loading import Run
from simulations.report.page import make_page, render
from simulations.report.paired import paired_comparisons
from tests.simulations.report.recompute import cell_rows, metric, read
from tests.simulations.report.report_run import CLASSES
from tests.simulations.report.shown_numbers import shown_numbers

LoadedRun = Callable[..., Run]


def test_the_difference_is_that_of_both_runs_on_their_common_images(
    loaded: LoadedRun, run_folder: Callable[..., Path]
) -> None:
    runs = [loaded("simulate"), loaded("simulate", "other")]
    (pair,) = paired_comparisons(runs)
    tables = [read(run_folder("simulate", name), list(CLASSES)) for name in ("", "other")]
    for group in pair.groups:
        by = "all" if group.group == "all" else "site"
        values = [
            metric(
                cell_rows(table, "ridge", "federated", "all sites", by, group.group),
                "balanced_accuracy",
                [],
            )
            for table in tables
        ]
        assert group.difference.value == pytest.approx(values[0] - values[1], abs=1e-6)
    assert next(group.group for group in pair.groups) == "all"
    assert pair.images == len(cell_rows(tables[0], "ridge", "federated", "all sites", "all", ""))


def test_a_run_does_not_differ_from_itself(loaded: LoadedRun) -> None:
    run = loaded("simulate")
    twin = Run(run.folder.with_name("twin"), run.study, run.predictions)
    (pair,) = paired_comparisons([run, twin])
    assert all(group.difference.triple == (0.0, 0.0, 0.0) for group in pair.groups)
    assert not any(group.decided for group in pair.groups)


def test_runs_that_share_no_image_are_not_compared(loaded: LoadedRun) -> None:
    run = loaded("simulate")
    seeds = np.full(len(run.predictions), "99")
    text = {**run.predictions.text, "split_seed": seeds}
    table = type(run.predictions)(text, run.predictions.classes, run.predictions.probabilities)
    assert paired_comparisons([run, Run(run.folder, run.study, table)]) == []
    assert paired_comparisons([run, loaded("leave-one-site-out")]) == []


def test_the_comparison_stands_on_the_page(loaded: LoadedRun) -> None:
    page = render(make_page([loaded("simulate"), loaded("simulate", "other")], images=False))
    kinds = [number.get("kind") for number in shown_numbers(page)]
    assert kinds.count("paired") >= 4
    assert "Run against run" in page
