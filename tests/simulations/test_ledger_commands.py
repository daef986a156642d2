"""Withdrawal and arrival as users do them, against runs without and with the site."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from sklearn.linear_model import RidgeClassifier
from sklearn.preprocessing import StandardScaler

from common.cohort import load_cohort
from common.metadata import encode
from common.metadata.encoding import codes_of
from common.model import load_model

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


def _predicted_wrongly(run: Path, cohort: Path, exported: Any, sites: set[str]) -> float:
    """Compare a model with scikit-learn's ridge on the sites' images and metadata."""
    table = load_cohort(cohort)
    row = {name: index for index, name in enumerate(table.image_id.tolist())}
    rows = np.array([row[name] for name in exported["image_id"].tolist()])
    columns = encode(codes_of(table, rows), ("age", "sex", "localisation"))
    x = np.hstack([exported["x"], columns])
    train = (exported["split"] == "train") & np.isin(exported["site"], list(sites))
    scaler = StandardScaler().fit(x[train].astype(np.float64))
    z = scaler.transform(x.astype(np.float64))
    # As `early scale=2` says, after standardisation.
    z[:, -columns.shape[1] :] *= 2.0
    images = int(train.sum())
    ridge = RidgeClassifier(alpha=0.5 * images, class_weight="balanced")
    wanted = ridge.fit(z[train], exported["y"][train]).decision_function(z)
    head: Any = load_model(run).head()
    assert head.classes_.tolist() == ridge.classes_.tolist()
    return float(np.linalg.norm(head.scores(x) - wanted) / np.linalg.norm(wanted))


@pytest.mark.slow
def test_with_metadata_a_site_goes_and_comes_as_if_it_had_always_been_so(
    dermafed: Any, cohort: Path, kept: Path, exported: Any, tmp_path: Path
) -> None:
    four, less, back = tmp_path / "four", tmp_path / "less", tmp_path / "back"
    told = ("--set", "ledger=true", "--set", "calibrate=none", "--set", "alpha_per_image=0.5")
    done = dermafed("simulate", cohort, *told, "--metadata", "early scale=2", "--out", four)
    assert done.returncode == 0, done.stderr
    sites = set(load_model(four).description.sites)
    done = dermafed("withdraw", four, "rosendahl", "--out", less)
    assert done.returncode == 0, done.stderr
    left = sites - {"rosendahl"}
    assert _predicted_wrongly(less, cohort, exported, left) <= 1e-9
    assert _predicted_wrongly(less, cohort, exported, sites) > 1e-3

    entries = {}
    for name, like in (("with", less), ("without", kept)):
        entries[name] = tmp_path / f"{name}.safetensors"
        asked = ("--like", like / "model.json", "--out", entries[name], "--minimum-count", 1)
        done = dermafed("contribute", cohort, "--site", "rosendahl", *asked)
        assert done.returncode == 0, done.stderr
        assert ("over age, sex, localisation too" in done.stderr) == (name == "with")
    done = dermafed("admit", less, entries["without"], "--out", back)
    assert done.returncode == 1
    assert "is over images alone, the model's over metadata 'early scale=2.0'" in done.stderr
    assert f"dermafed contribute --like {less / 'model.json'}" in done.stderr.replace("\n", "")
    assert not back.exists()
    done = dermafed("admit", less, entries["with"], "--out", back)
    assert done.returncode == 0, done.stderr
    assert _predicted_wrongly(back, cohort, exported, sites) <= 1e-9


def test_no_sums_are_made_for_a_model_that_keeps_no_ledger(
    dermafed: Any, cohort: Path, kept: Path, tmp_path: Path
) -> None:
    about = json.loads((kept / "model.json").read_text(encoding="utf-8"))
    like, entry = tmp_path / "model.json", tmp_path / "entry.safetensors"
    about["learner_settings"] = about["learner_settings"].replace("ledger=true", "ledger=false")
    like.write_text(json.dumps(about), encoding="utf-8")
    done = dermafed("contribute", cohort, "--site", "rosendahl", "--like", like, "--out", entry)
    assert done.returncode == 1
    assert "ridge without a ledger" in done.stderr
    assert not entry.exists()


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
