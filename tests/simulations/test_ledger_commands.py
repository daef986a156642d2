"""Withdrawal and arrival as users do them, against runs without and with the site."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

SETTINGS = ("--set", "pca=8", "--set", "calibrate=none")


@pytest.fixture(scope="module")
def kept(dermafed: Any, cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("ledger") / "four"
    done = dermafed("simulate", cohort, *SETTINGS, "--set", "ledger=true", "--out", out)
    assert done.returncode == 0, done.stderr
    assert "class_gram 1" in done.stdout
    return out


def _coefficients(run: Path) -> Any:
    model = load_file(run / "model.safetensors")
    return model["coef"] @ model["components"]


def test_withdrawal_is_the_run_without_the_site_and_arrival_the_run_with_it(
    dermafed: Any, cohort: Path, kept: Path, tmp_path: Path
) -> None:
    less, other, back = tmp_path / "less", tmp_path / "other", tmp_path / "back"
    done = dermafed("withdraw", kept, "rosendahl", "--out", less)
    assert done.returncode == 0, done.stderr
    assert "delete" in done.stderr
    done = dermafed("simulate", cohort, *SETTINGS, "--without", "rosendahl", "--out", other)
    assert done.returncode == 0, done.stderr
    wanted = _coefficients(other)
    assert np.linalg.norm(_coefficients(less) - wanted) <= 1e-8 * np.linalg.norm(wanted)
    left_out = json.loads((other / "result.json").read_text(encoding="utf-8"))["partition"]
    assert left_out["left_out"] == {"rosendahl": "withdrawn"}

    entry = tmp_path / "rosendahl.safetensors"
    like = ("--like", less / "model.json", "--out", entry)
    done = dermafed("contribute", cohort, "--site", "rosendahl", *like, "--minimum-count", 1)
    assert done.returncode == 0, done.stderr
    done = dermafed("admit", less, entry, "--out", back)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(_coefficients(back), _coefficients(kept))


def test_a_guarded_entry_says_what_it_withholds(
    dermafed: Any, cohort: Path, kept: Path, tmp_path: Path
) -> None:
    entry = tmp_path / "entry.safetensors"
    like = ("--like", kept / "model.json", "--out", entry)
    done = dermafed("contribute", cohort, "--site", "rosendahl", *like)
    assert done.returncode == 0, done.stderr
    assert "withheld, fewer than 5 images: " in done.stderr


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["withdraw", "RUN", "nowhere", "--out", "OUT"], ["no site nowhere", "rosendahl"]),
        (["withdraw", "MISSING", "rosendahl", "--out", "OUT"], ["model.json: missing"]),
        (["admit", "RUN", "MISSING", "--out", "OUT"], ["missing", "entry of a ledger"]),
        (["withdraw", "RUN", "rosendahl", "--out", "RUN"], ["exists already"]),
        (
            ["contribute", "COHORT", "--site", "nowhere", "--like", "LIKE", "--out", "OUT"],
            ["site nowhere", "rosendahl"],
        ),
        (
            ["contribute", "COHORT", "--site", "rosendahl", "--like", "MISSING", "--out", "OUT"],
            ["model.json"],
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    arguments: list[str],
    names: list[str],
    dermafed: Any,
    cohort: Path,
    kept: Path,
    tmp_path: Path,
) -> None:
    paths = {
        "RUN": kept,
        "OUT": tmp_path / "out",
        "MISSING": tmp_path / "missing",
        "COHORT": cohort,
        "LIKE": kept / "model.json",
    }
    done = dermafed(*(paths.get(argument, argument) for argument in arguments))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    for name in names:
        assert name in done.stderr
    assert not (tmp_path / "out").exists()
