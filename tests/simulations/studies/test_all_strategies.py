"""Every strategy by the real command over the embedded cohort; ``pytest -s -m slow`` shows it."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm, skew
from sklearn.metrics import balanced_accuracy_score

from common.finetuning.strategies import STRATEGIES
from tests.simulations.studies.resampled import copies

pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]

FROZEN = "frozen head"
AGAIN, DRAWS = ("fedprox", "scaffold"), 500
OPTIONS = (
    *("--backbone", "efficientnet_lite0+view:64x48", "--split-seed", 4, "--draws", DRAWS),
    # Few steps of the last stages, since every strategy takes them.
    *("--train", "plan=3:4", "--train", "steps=6", "--train", "flip_average=false"),
    *("--train", "lr=2e-4", "--train", "head_lr=2e-4"),
    # The fastest precision of a machine is not that of another.
    *("--train", "precision=float32"),
)
Triple = tuple[float, float, float]
RunStudy = Callable[[str, tuple[str, ...]], Path]


@pytest.fixture(scope="module")
def run_study(shared_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> RunStudy:
    base, script = tmp_path_factory.mktemp("strategies"), Path(sys.executable).parent / "dermafed"

    def run(name: str, strategies: tuple[str, ...]) -> Path:
        out = base / name
        learners = [text for one in strategies for text in ("--learner", one)]
        done = subprocess.run(
            [script, "study", "fine-tuning", "--out", out, *learners, *map(str, OPTIONS)],
            capture_output=True,
            text=True,
            timeout=5400,
            check=False,
            env={**os.environ, "DERMAFED_CACHE": str(shared_cache)},
        )
        assert done.returncode == 0, done.stderr
        return out

    return run


@pytest.fixture(scope="module")
def every(run_study: RunStudy) -> Path:
    return run_study("every", tuple(STRATEGIES))


def read_result(folder: Path) -> Any:
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))


def rows_of(folder: Path, *learners: str) -> list[dict[str, str]]:
    with (folder / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        return [row for row in csv.DictReader(stream) if row["learner"] in learners]


def scored(rows: list[dict[str, str]], model: str) -> float:
    """Compute a model's balanced accuracy with scikit-learn."""
    own = [row for row in rows if row["model"] == model]
    assert own
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "y_pred contains classes not in y_true")
        y, predicted = ([row[name] for row in own] for name in ("y_true", "y_pred"))
        return float(balanced_accuracy_score(y, predicted))


def differences(result: Any) -> dict[str, Triple]:
    """Give fine-tuned minus frozen over all test images, with its interval, by strategy."""
    return {
        one["learner"]: tuple(one["groups"]["all"]["difference"])
        for one in result["comparisons"]
        if (one["by"], one["metric"]) == ("all", "balanced_accuracy")
        and (one["a"]["model"], one["b"]["model"]) == ("fine-tuned", FROZEN)
    }


def interval(rows: list[dict[str, str]]) -> tuple[float, float]:
    """Compute the documented interval of fine-tuned minus frozen: lesions are drawn, not images."""
    models = {model: [r for r in rows if r["model"] == model] for model in ("fine-tuned", FROZEN)}
    tuned, frozen = models.values()
    assert [row["image_id"] for row in tuned] == [row["image_id"] for row in frozen]
    y = np.array([row["y_true"] for row in tuned])
    right = [y == [row["y_pred"] for row in own] for own in (tuned, frozen)]
    known = {lesion: copies(lesion, 0, DRAWS) for lesion in {row["cluster"] for row in tuned}}
    times = np.array([known[row["cluster"]] for row in tuned], dtype=np.float64)
    gain = (right[0].astype(np.float64) - right[1])[:, None]
    drawn = np.zeros(DRAWS)
    with np.errstate(invalid="ignore"):
        for label in np.unique(y):
            drawn += (gain * times)[y == label].sum(axis=0) / times[y == label].sum(axis=0)
    # A draw without a class has no mean over all of them.
    drawn = drawn[np.isfinite(drawn)] / len(np.unique(y))
    if not drawn.any():
        return 0.0, 0.0
    # Efron 1987: percentiles at Phi(z / (1 - a z)), a being a sixth of the skewness.
    a, z = float(skew(drawn)) / 6.0, float(norm.ppf(0.975))
    low, high = np.quantile(drawn, norm.cdf([-z / (1.0 + a * z), z / (1.0 - a * z)]))
    return float(low), float(high)


def values(result: Any, model: str) -> dict[str, float]:
    return {
        cell["learner"]: cell["metrics"]["balanced_accuracy"][0]
        for cell in result["cells"]
        if (cell["model"], cell["by"]) == (model, "all")
    }


def table(result: Any) -> str:
    frozen, tuned = values(result, FROZEN), values(result, "fine-tuned")
    lines = [f"{'strategy':14}{'frozen':>8}{'tuned':>8}  difference and its interval by lesion"]
    for name, (value, low, high) in differences(result).items():
        numbers = f"{frozen[name]:8.3f}{tuned[name]:8.3f}{value:+9.3f} [{low:+.3f}, {high:+.3f}]"
        lines.append(f"{name:14}{numbers}")
    for model in ("pooled network", "local network"):
        lines += [f"{model:22}{values(result, model)['baseline']:8.3f}"]
    return "\n".join(lines)


def test_every_strategy_is_compared_with_frozen_features_by_lesion(every: Path) -> None:
    result = read_result(every)
    print(f"\n{table(result)}")
    found = differences(result)
    assert list(found) == list(STRATEGIES)
    # One head begins all runs, whatever the strategy.
    assert len(set(values(result, FROZEN).values())) == 1
    for name, (value, low, high) in found.items():
        assert low <= value <= high, name
        assert low > -1.0, name
        assert high < 1.0, name
    # Of some strategies a round that trained was the best on validation images.
    assert sum(low < high for _, low, high in found.values()) > len(STRATEGIES) / 4
    for name in STRATEGIES:
        rows = rows_of(every, name)
        assert {row["split"] for row in rows} == {"test"}
        wanted = scored(rows, "fine-tuned") - scored(rows, FROZEN)
        assert found[name][0] == pytest.approx(wanted), name
    for name in AGAIN:
        assert found[name][1:] == pytest.approx(interval(rows_of(every, name))), name
    validated = {one["learner"] for one in result["validation"] if one["model"] == "fine-tuned"}
    assert validated == set(STRATEGIES)


def test_the_report_shows_the_strategy_of_the_best_validation(
    every: Path, dermafed: Any, tmp_path: Path
) -> None:
    page = tmp_path / "page.html"
    done = dermafed("report", every, "--out", page, "--no-images")
    assert done.returncode == 0, done.stderr
    validation = {
        one["learner"]: one["balanced_accuracy"]
        for one in read_result(every)["validation"]
        if one["model"] == "fine-tuned"
    }
    best = max(validation, key=lambda name: validation[name])
    text = page.read_text(encoding="utf-8")
    told = f"Of {len(STRATEGIES)} strategies, validation images, not test images, chose the {best}"
    assert f"{told} network." in text


def test_the_same_command_in_another_folder_gives_the_same_predictions(
    every: Path, run_study: RunStudy
) -> None:
    again = run_study("again", AGAIN)
    mine, theirs = (rows_of(folder, "baseline", *AGAIN) for folder in (again, every))
    assert {row["model"] for row in mine} == {
        *("fine-tuned", FROZEN, "pooled network", "local network"),
    }
    assert mine == theirs
