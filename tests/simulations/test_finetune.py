"""`dermafed finetune` in real processes: what it writes, and that a kill changes no byte."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from common.errors import PartitionError, SettingsError
from simulations.commands.finetune import finetune

Done = subprocess.CompletedProcess[str]

OPTIONS = (
    *("--backbone", "efficientnet_lite0+view:64x48"),
    *("--train", "plan=head:1,1:3", "--train", "steps=2", "--train", "batch=8"),
    # The fastest precision of a machine is not that of another.
    *("--train", "precision=float32"),
)
ROUNDS = 4
WRITTEN = ("network.safetensors", "model.safetensors", "predictions.csv")


@pytest.fixture(scope="module")
def tuned(
    dermafed: Any, cohort: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Done]:
    """A run that nothing stopped."""
    out = tmp_path_factory.mktemp("finetune") / "tuned"
    done = dermafed("finetune", cohort, "--out", out, *OPTIONS)
    assert done.returncode == 0, done.stderr
    return out, done


def read_result(run: Path) -> Any:
    return json.loads((run / "result.json").read_text(encoding="utf-8"))


def read_rows(run: Path, model: str) -> list[dict[str, str]]:
    with (run / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        return [row for row in csv.DictReader(stream) if row["model"] == model]


def without_times(result: Any) -> Any:
    """What must not depend on when and how fast a run was."""
    history = [{k: v for k, v in one.items() if k != "seconds"} for one in result["history"]]
    kept = ("test", "frozen_head", "best_round", "gradient_steps", "cells", "comparisons")
    return [history, *(result[name] for name in kept)]


def test_both_models_results_are_those_of_their_predictions(tuned: tuple[Path, Done]) -> None:
    run, _ = tuned
    result = read_result(run)
    found = {}
    for model, name in (("fine-tuned", "test"), ("frozen head", "frozen_head")):
        rows = read_rows(run, model)
        found[model] = [row["image_id"] for row in rows]
        assert {row["split"] for row in rows} == {"test"}
        told = result[name]["pooled"]
        assert told["n"] == len(rows) > 0
        y, p = [r["y_true"] for r in rows], [r["y_pred"] for r in rows]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "y_pred contains classes not in y_true")
            wanted = balanced_accuracy_score(y, p)
        assert told["balanced_accuracy"] == pytest.approx(wanted)
        (cell,) = (c for c in result["cells"] if (c["model"], c["by"]) == (model, "all"))
        assert cell["metrics"]["balanced_accuracy"][0] == pytest.approx(wanted)
    assert found["fine-tuned"] == found["frozen head"]
    scores = [result[name]["pooled"]["balanced_accuracy"] for name in ("test", "frozen_head")]
    (compared,) = (
        one["groups"]["all"]
        for one in result["comparisons"]
        if (one["by"], one["metric"]) == ("all", "balanced_accuracy")
    )
    assert compared["difference"][0] == pytest.approx(scores[0] - scores[1])


def test_progress_is_told_and_nothing_unfinished_is_left(
    tuned: tuple[Path, Done], shared_cache: Path
) -> None:
    run, done = tuned
    lines = done.stderr.splitlines()
    for number in range(ROUNDS + 1):
        assert any(line.startswith(f"round {number} of {ROUNDS}") for line in lines)
    assert "left" in next(line for line in lines if line.startswith("round 1 of"))
    assert "frozen head" in done.stdout
    assert not run.with_name("tuned.unfinished").exists()
    assert not (shared_cache / "states" / read_result(run)["run"]).exists()


def test_the_report_reads_it(tuned: tuple[Path, Done], dermafed: Any, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    done = dermafed("report", tuned[0], "--out", page, "--no-images")
    assert done.returncode == 0, done.stderr
    text = page.read_text(encoding="utf-8")
    assert "Fine-tuned over the sites together, the federated fedavg network" in text
    assert "Fine-tuned against the frozen head" in text
    card = page.with_name("page-model-card.md").read_text(encoding="utf-8")
    assert "federated fedavg network" in card


def test_the_same_seed_gives_the_same_bytes(
    tuned: tuple[Path, Done], dermafed: Any, cohort: Path, tmp_path: Path
) -> None:
    done = dermafed("finetune", cohort, "--out", tmp_path / "again", *OPTIONS)
    assert done.returncode == 0, done.stderr
    assert_same(tuned[0], tmp_path / "again")


def assert_same(a: Path, b: Path) -> None:
    for name in WRITTEN:
        assert (a / name).read_bytes() == (b / name).read_bytes(), name
    assert without_times(read_result(a)) == without_times(read_result(b))


def test_a_run_killed_in_round_3_and_started_again_equals_one_that_was_not(
    tuned: tuple[Path, Done],
    dermafed: Any,
    cohort: Path,
    shared_cache: Path,
    tmp_path: Path,
) -> None:
    pytest.importorskip("tensorboard")
    out, board = tmp_path / "killed", tmp_path / "board"
    command = ("finetune", cohort, "--out", out, *OPTIONS, "--tensorboard", board)
    script = Path(sys.executable).parent / "dermafed"
    process = subprocess.Popen(
        [script, *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "DERMAFED_CACHE": str(shared_cache)},
    )
    work = tmp_path / "killed.unfinished"
    limit = time.monotonic() + 120
    while not (work / "round-0002.json").is_file():
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < limit
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait(timeout=60)
    assert not out.exists()
    assert not (work / f"round-{ROUNDS:04}.json").exists()
    done = dermafed(*command)
    assert done.returncode == 0, done.stderr
    assert "going on after round" in done.stderr
    assert "round 1 of" not in done.stderr
    assert_same(tuned[0], out)
    assert not work.exists()
    events = (out / "events.jsonl").read_text(encoding="utf-8").splitlines()
    kinds = [json.loads(line)["event"] for line in events]
    assert (kinds.count("start"), kinds.count("resume"), kinds.count("end")) == (1, 1, 1)
    shown = steps_shown(board)
    assert shown == sorted(set(shown))
    # The kill may have come between a round's checkpoint and its point.
    assert ROUNDS - 1 <= len(shown) <= ROUNDS
    assert shown[-1] == ROUNDS


def steps_shown(board: Path) -> list[int]:
    """The rounds of training that TensorBoard shows."""
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    ).EventAccumulator(str(board))
    accumulator.Reload()
    return [point.step for point in accumulator.Scalars("train_loss")]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"strategy": "fedsgd"}, "fedsgd"),
        ({"strategy": "fedprox", "assignments": ["mu=-1"]}, "mu"),
        ({"assignments": ["mu=0.1"]}, "mu"),
        ({"training": ["lr=0"]}, "lr"),
        ({"training": ["pace=3"]}, "pace"),
        ({"training": ["plan=all:2,head:1"]}, "plan"),
        ({"training": ["plan=5:2"], "backbone": "efficientnet_lite0+truncate:4"}, "4 stages"),
        ({"learner": "forest"}, "forest"),
        ({"partition": "iid"}, "partition"),
        ({"retries": -1}, "retries"),
    ],
)
def test_a_wrong_setting_is_told_before_the_cohort_is_looked_at(
    tmp_path: Path, wrong: dict[str, Any], named: str
) -> None:
    out = tmp_path / "run"
    with pytest.raises((SettingsError, PartitionError), match=named):
        finetune(tmp_path / "absent", out=out, **wrong)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "module"),
    [({"tensorboard": Path("board")}, "tensorboard"), ({"mlflow": "http://127.0.0.1:9"}, "mlflow")],
)
def test_a_tracker_that_is_not_installed_is_told_before_the_cohort_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(SettingsError, match="is not installed"):
        finetune(tmp_path / "absent", out=tmp_path / "run", **given)
    assert list(tmp_path.iterdir()) == []


def test_the_networks_probabilities_are_those_of_the_saved_network(
    tuned: tuple[Path, Done], cohort: Path
) -> None:
    torch = pytest.importorskip("torch")
    from common.backbones import get_backbone
    from common.finetuning.model import load_network

    run, _ = tuned
    model = load_network(run)
    network, transform = model.network(), get_backbone(model.description.backbone).transform
    rows = read_rows(run, "fine-tuned")[:4]
    (folder,) = {path.parent for path in cohort.rglob(f"{rows[0]['image_id']}.*")}
    for row in rows:
        (path,) = folder.glob(f"{row['image_id']}.*")
        pixels = transform.pixels(path.read_bytes(), path).astype(np.float32)
        scaled = (pixels / 255.0 - transform.mean) / transform.std
        x = torch.from_numpy(scaled.astype(np.float32)).permute(2, 0, 1)[None]
        with torch.inference_mode():
            logits = (network(x) + network(x.flip(3))) / 2
        p = logits.double().softmax(1).numpy()[0]
        told = [float(row[f"p_{name}"]) for name in model.description.classes]
        np.testing.assert_allclose(told, p, atol=1e-5)


def test_predict_classifies_files_with_the_fine_tuned_network(
    tuned: tuple[Path, Done], dermafed: Any, cohort: Path, tmp_path: Path
) -> None:
    run, _ = tuned
    rows = read_rows(run, "fine-tuned")[:6]
    files = [next(cohort.rglob(f"{row['image_id']}.*")) for row in rows]
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no image")
    out = tmp_path / "out.csv"
    done = dermafed("predict", run, *files, broken, "--out", out)
    assert done.returncode != 0
    assert "broken.jpg" in done.stderr
    assert not out.exists()
    done = dermafed("predict", run, *files, broken, "--skip-unreadable", "--out", out)
    assert done.returncode == 0, done.stderr
    with out.open(encoding="utf-8", newline="") as stream:
        found = list(csv.DictReader(stream))
    assert [row["image_id"] for row in found] == [row["image_id"] for row in rows]
    names = [name for name in found[0] if name.startswith("p_")]
    for mine, told in zip(found, rows, strict=True):
        assert mine["y_pred"] == told["y_pred"]
        np.testing.assert_allclose(
            [float(mine[name]) for name in names],
            [float(told[name]) for name in names],
            atol=1e-5,
        )
