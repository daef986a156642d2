"""``dermafed coordinator run`` and ``stop --run``: checked, followed, never started twice."""

from __future__ import annotations

import importlib
import signal
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from common.cli import app
from common.errors import DeploymentError, SettingsError
from common.finetuning.head import head_settings
from server.deployment import runs
from server.deployment.overview import Overview
from server.deployment.registry import Member, write_registry
from server.deployment.settings import CoordinatorFile, write_coordinator_file

# The package gives the functions under these names.
run_command = importlib.import_module("server.commands.coordinator.run")
stop_command = importlib.import_module("server.commands.coordinator.stop")


def _coordinator(*arguments: str) -> None:
    done = CliRunner().invoke(app, ["coordinator", *arguments], catch_exceptions=False)
    assert done.exit_code == 0


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture(autouse=True)
def _tiny_backbone() -> None:
    """Leave the backbones as they are: a run is checked against the one that it names."""


@pytest.fixture
def invited(tmp_path: Path) -> Path:
    folder = tmp_path / "coordinator"
    folder.mkdir()
    write_coordinator_file(folder, CoordinatorFile(host="fed.example.org"))
    members = [Member(site=f"site-{n}", node_id=n, key=f"key {n}") for n in (1, 2, 3)]
    write_registry(folder / "sites.json", tuple(members))
    return folder


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--strategy", "fedsome"], "strategy 'fedsome' is unknown"),
        (["--strategy", "fedprox", "--set", "nu=1"], "strategy settings: nu: unknown"),
        (["--strategy", "fedavg", "--train", "plan=all"], "training setting plan: 'all'"),
        (["--strategy", "fedper", "--train", "plan=head:1,all:1"], "training setting plan: fedper"),
        (["--strategy", "krum", "--set", "hostile=1"], "hostile: krum needs 5 sites .* run has 3"),
        (["--train", "lr=0.1"], "run setting training: is for fine-tuning"),
        (["--learner", "rigde"], "learner 'rigde' is unknown"),
        (["--set", "alfa=1"], "learner settings: alfa: unknown"),
        (["--imbalance", "smoot"], "imbalance 'smoot' is unknown"),
        (["--imbalance", "smote", "--strategy", "fedavg"], "imbalance smote: is for heads alone"),
        (
            ["--imbalance", "smote", "--set", "folds=3", "--set", "search=grid:0.1:10:3"],
            "imbalance smote: not with folds at guarded sites",
        ),
    ],
)
def test_a_wrong_setting_is_refused_here_and_not_by_every_site(
    invited: Path, arguments: list[str], named: str
) -> None:
    before = _files(invited)
    with pytest.raises(SettingsError, match=named):
        _coordinator("run", "--dry-run", "--folder", str(invited), *arguments)
    assert _files(invited) == before


def test_a_treatment_of_imbalance_is_the_runs(invited: Path) -> None:
    options = ("--folder", str(invited), "--name", "treated", "--imbalance", "smote neighbours=3")
    _coordinator("run", "--dry-run", *options)
    found = tomllib.loads((invited / "runs" / "treated.run.toml").read_text(encoding="utf-8"))
    assert found["imbalance"] == "smote neighbours=3"


def test_a_run_that_is_under_way_is_followed_and_not_started_twice(
    invited: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = iter(["101", "102"])
    monkeypatch.setattr(runs, "flwr", lambda *_: {"run-id": next(numbers)})
    followed: list[tuple[str, ...]] = []
    monkeypatch.setattr(
        run_command, "follow_shown", lambda *given: followed.append(given[2].flower_runs)
    )
    under_way = True
    monkeypatch.setattr(run_command, "is_under_way", lambda *_: under_way)
    _coordinator("run", "--name", "first", "--folder", str(invited))
    _coordinator("run", "--resume", "first", "--folder", str(invited))
    under_way = False
    _coordinator("run", "--resume", "first", "--folder", str(invited))
    assert followed == [("101",), ("101",), ("101", "102")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_while_a_run_is_submitted_loses_no_run(
    invited: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    def flwr(*_: object) -> dict[str, str]:
        signal.raise_signal(number)
        return {"run-id": "101"}

    def terminate(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "flwr", flwr)
    monkeypatch.setattr(run_command, "follow_shown", lambda *_: pytest.fail("is followed"))
    # As the command line has it.
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        done = CliRunner().invoke(
            app, ["coordinator", "run", "--name", "first", "--folder", str(invited)]
        )
    finally:
        signal.signal(signal.SIGTERM, before)
    assert done.exit_code == 130
    assert done.stderr.splitlines() == [
        "run first goes on at the coordinator",
        f"follow it again: dermafed coordinator run --resume first --folder {invited}",
        f"stop it: dermafed coordinator stop --run first --folder {invited}",
    ]
    assert runs.read_run(invited, "first").flower_runs == ("101",)


def test_an_interrupted_watch_ends_without_a_word(
    invited: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status_command = importlib.import_module("server.commands.coordinator.status")

    def interrupted(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(status_command, "look", lambda *_: Overview("three hospitals", (), ()))
    monkeypatch.setattr(status_command, "time", SimpleNamespace(sleep=interrupted))
    done = CliRunner().invoke(app, ["coordinator", "status", "--watch", "--folder", str(invited)])
    assert (done.exit_code, done.stderr) == (0, "")


def test_stopping_a_run_stops_no_program(invited: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def flwr(_folder: Path, *arguments: str) -> dict[str, str]:
        asked.append(arguments)
        return {"run-id": "101"}

    monkeypatch.setattr(runs, "flwr", flwr)
    monkeypatch.setattr(run_command, "follow_shown", lambda *_: None)
    monkeypatch.setattr(stop_command, "stop_all", lambda _: pytest.fail("stops the programs"))
    _coordinator("run", "--name", "first", "--folder", str(invited))
    _coordinator("stop", "--run", "first", "--folder", str(invited))
    assert asked[1:] == [("stop", "101")]
    with pytest.raises(DeploymentError, match="run second: not known; known: first"):
        _coordinator("stop", "--run", "second", "--folder", str(invited))


def test_settings_of_a_strategy_go_to_the_strategy(invited: Path) -> None:
    _coordinator(
        *("run", "--dry-run", "--folder", str(invited), "--name", "tuned"),
        *("--strategy", "fedprox", "--set", "mu=0.1", "--train", "plan=2:3", "--train", "lr=0.1"),
    )
    found = tomllib.loads((invited / "runs" / "tuned.run.toml").read_text(encoding="utf-8"))
    assert (found["strategy"], found["strategy-settings"]) == ("fedprox", "mu=0.1")
    assert found["training"] == "plan=2:3 lr=0.1"
    # The head is that of dermafed finetune, and a site may take an hour, as there.
    assert found["learner-settings"] == head_settings("ridge")
    assert found["deadline"] == 3600.0
