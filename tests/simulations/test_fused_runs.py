"""Runs with metadata, as users start them: the model records them, and predicts with them only."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

LATE = "members=ridge:block=images,ridge:block=metadata"


@pytest.fixture(scope="module")
def fused(dermafed: Any, cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, images and metadata fused early."""
    run: Path = tmp_path_factory.mktemp("runs") / "early"
    done = dermafed("simulate", cohort, "--metadata", "early scale=3", "--out", run)
    assert done.returncode == 0, done.stderr
    return run


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_model_records_the_metadata_and_is_the_pooled_fit(fused: Path, exported: Any) -> None:
    about = json.loads((fused / "model.json").read_text(encoding="utf-8"))
    assert about["metadata"] == "early scale=3.0"
    assert about["dimension"] == exported["x"].shape[1] + 25
    result = json.loads((fused / "result.json").read_text(encoding="utf-8"))
    assert result["settings"]["metadata"] == "early scale=3"
    assert result["oracle"]["predictions_that_differ"] == 0
    assert result["oracle"]["relative_coefficient_error"] < 1e-8


def test_new_images_get_with_their_metadata_what_the_run_gave_them(
    fused: Path, dermafed: Any, cohort: Path, tmp_path: Path
) -> None:
    out, table = tmp_path / "predicted.csv", cohort / "HAM10000_metadata.csv"
    images = cohort / "images"
    done = dermafed("predict", fused, images, "--metadata", table, "--out", out)
    assert done.returncode == 0, done.stderr
    wanted = {row["image_id"]: row for row in _rows(fused / "predictions.csv")}
    found = _rows(out)
    assert len(found) == len(wanted)
    names = [name for name in found[0] if name.startswith("p_")]
    np.testing.assert_allclose(
        [[float(row[name]) for name in names] for row in found],
        [[float(wanted[row["image_id"]][name]) for name in names] for row in found],
        rtol=2**-22,
    )


def test_new_images_without_metadata_are_refused_and_so_are_metadata_of_no_use(
    fused: Path, site_run: tuple[Path, Any], dermafed: Any, cohort: Path, tmp_path: Path
) -> None:
    images, out = cohort / "images", tmp_path / "predicted.csv"
    done = dermafed("predict", fused, images, "--out", out)
    assert done.returncode == 1
    assert "has learned from age, sex, localisation, too; give --metadata" in done.stderr
    table = cohort / "HAM10000_metadata.csv"
    done = dermafed("predict", site_run[0], images, "--metadata", table, "--out", out)
    assert done.returncode == 1
    assert "has learned from images alone" in done.stderr
    assert not out.exists()


def test_late_fusion_of_a_head_runs_as_a_stack(dermafed: Any, cohort: Path, tmp_path: Path) -> None:
    run = tmp_path / "late"
    done = dermafed("simulate", cohort, "--metadata", "late", "--out", run)
    assert done.returncode == 0, done.stderr
    about = json.loads((run / "model.json").read_text(encoding="utf-8"))
    assert (about["learner"], about["metadata"]) == ("stack", "late")
    assert about["learner_settings"] == LATE
    assert "against the oracle: 0 predictions differ" in done.stdout
    assert "pooled oracle" in done.stdout
    oracle = json.loads((run / "result.json").read_text(encoding="utf-8"))["oracle"]
    assert (oracle["predictions_that_differ"], oracle["converged"]) == (0, True)


def test_metadata_that_cannot_be_are_refused_before_any_work(
    dermafed: Any, cohort: Path, tmp_path: Path
) -> None:
    for arguments, says in (
        (("--metadata", "middle"), "metadata 'middle' is unknown"),
        (("--metadata", "early", "--set", "pca=1281"), "without metadata"),
        (("--metadata", "late", "--learner", "soft-vote"), "has members of its own"),
    ):
        done = dermafed("simulate", cohort, *arguments, "--out", tmp_path / "run")
        assert done.returncode == 1
        assert says in done.stderr
