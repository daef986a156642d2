"""What runs of fine-tuning have left at a site does not stay for ever."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from client.training.keep import Keep, forget_old_runs

NOW, DAY = 2e9, 86_400


@pytest.mark.parametrize(("days", "stays"), [(0, True), (29.9, True), (30.1, False), (400, False)])
def test_a_run_that_nobody_has_gone_on_with_for_30_days_is_forgotten(
    tmp_path: Path, days: float, stays: bool
) -> None:
    for run in ("old", "new"):
        Keep(tmp_path, run, "clinic").save(1, {"m": np.ones(2)}, ())
    for path in (tmp_path / "new").rglob("*"):
        os.utime(path, (NOW, NOW))
    for path in (tmp_path / "old", *(tmp_path / "old").rglob("*")):
        os.utime(path, (NOW - days * DAY,) * 2)
    forget_old_runs(tmp_path, NOW)
    assert (tmp_path / "old").exists() is stays
    np.testing.assert_array_equal(Keep(tmp_path, "new", "clinic").load(1)["m"], np.ones(2))


def test_a_run_whose_last_round_is_recent_stays_however_old_its_folder_is(tmp_path: Path) -> None:
    Keep(tmp_path, "long", "clinic").save(7, {"m": np.ones(2)}, ())
    (last,) = tmp_path.rglob("*.safetensors")
    for path in (tmp_path / "long", *(tmp_path / "long").rglob("*")):
        os.utime(path, (NOW - 90 * DAY,) * 2)
    os.utime(last, (NOW, NOW))
    forget_old_runs(tmp_path, NOW)
    assert last.exists()


def test_a_site_that_has_never_fine_tuned_has_nothing_to_forget(tmp_path: Path) -> None:
    forget_old_runs(tmp_path / "absent", NOW)
