"""Ensembles as users run them: the screen, the oracle where there is one, and new images."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _read(run: Path) -> tuple[dict[str, Any], dict[str, str]]:
    result: dict[str, Any] = json.loads((run / "result.json").read_text(encoding="utf-8"))
    with (run / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        return result, {row["image_id"]: row["y_pred"] for row in csv.DictReader(stream)}


def _voted(exported: Any) -> NDArray[np.str_]:
    train = exported["split"] == "train"
    x, y = exported["x"].astype(np.float64), exported["y"]
    logistic = LogisticRegression(
        C=1.0 / (0.1 * train.sum()), class_weight="balanced", tol=1e-10, max_iter=10_000
    )
    lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.5)
    vote = VotingClassifier(
        [
            ("logistic", make_pipeline(StandardScaler(), PCA(16, svd_solver="full"), logistic)),
            ("lda", make_pipeline(StandardScaler(), lda)),
        ],
        voting="soft",
        weights=[1, 2],
    ).fit(x[train], y[train])
    found: NDArray[np.str_] = vote.predict(x)
    return found


def test_a_vote_predicts_what_scikit_learns_does_and_says_so(
    exported: Any, dermafed: Any, cohort: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    settings = ["--set", "members=logistic:pca=16,lda:shrinkage=0.5", "--set", "weights=1,2"]
    done = dermafed("simulate", cohort, "--learner", "soft-vote", *settings, "--out", run)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "against the oracle: 0 predictions differ" in done.stdout
    result, predicted = _read(run)
    assert result["oracle"]["predictions_that_differ"] == 0
    assert result["oracle"]["relative_coefficient_error"] is None
    assert predicted == dict(zip(exported["image_id"], _voted(exported), strict=True))
    image = next((cohort / "images").iterdir(), None)
    assert image is not None
    out = tmp_path / "new.csv"
    done = dermafed("predict", run, image, "--out", out)
    assert done.returncode == 0, done.stderr
    row = out.read_text(encoding="utf-8").splitlines()[1]
    assert predicted[image.stem] in row.split(",")


def test_an_ensemble_without_an_oracle_says_so(dermafed: Any, cohort: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = dermafed(
        *("simulate", cohort, "--learner", "local-vote", "--set", "base=ncm", "--out", run)
    )
    assert done.returncode == 0, done.stderr
    assert "no pooled oracle: local-vote has none with these settings" in done.stdout
    assert "pooled oracle  " not in done.stdout
    result, _ = _read(run)
    assert result["oracle"] is None
    assert result["exactness"] == []


def test_tuning_prints_its_candidates_and_is_the_best_ones_pooled_fit(
    dermafed: Any, cohort: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    settings = [
        "--set",
        "learner=ridge",
        "--set",
        "space=alpha_per_image=0.1|10",
        "--set",
        "folds=3",
    ]
    done = dermafed("simulate", cohort, "--learner", "tuned", *settings, "--out", run)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    for text in ("choice by folds", "alpha_per_image=10", "against the oracle: 0 predictions"):
        assert text in done.stdout
    result, _ = _read(run)
    selection = result["selection"]
    assert selection["values"] == ["alpha_per_image=0.1", "alpha_per_image=10"]
    best = int(np.argmax(selection["balanced_accuracy"]))
    assert selection["chosen"] == selection["values"][best]
    assert np.mean(selection["folds"][best]) == selection["balanced_accuracy"][best]
