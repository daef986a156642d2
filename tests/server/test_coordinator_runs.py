"""A coordinator's runs: submitted, resumed and stopped, and how far they are."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from common.errors import DeploymentError
from common.settings import RunSettings
from server.deployment import runs
from server.deployment.runs import progress_of, read_run, read_runs, submit
from tests.server.submitted_runs import finish, log_of


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What ``flwr`` is asked; its runs are numbered 101, 102 and so on."""
    found: list[tuple[str, ...]] = []

    def flwr(folder: Path, *arguments: str) -> dict[str, Any]:
        found.append(arguments)
        return {"success": True, "run-id": str(100 + len(found))}

    monkeypatch.setattr(runs, "flwr", flwr)
    return found


def _settings(folder: Path, name: str, **changes: Any) -> RunSettings:
    return RunSettings(out=str(folder / "runs" / name), sites=2, **changes)


def test_a_submitted_run_is_on_record_with_its_settings(
    tmp_path: Path, asked: list[tuple[str, ...]]
) -> None:
    settings = _settings(tmp_path, "first", learner="logistic", deadline=30.0)
    record = submit(tmp_path, "first", settings)
    config = tmp_path / "runs" / "first.run.toml"
    assert asked == [("run", str(tmp_path / "bundle"), "--run-config", str(config))]
    assert tomllib.loads(config.read_text(encoding="utf-8")) == settings.run_config()
    assert record.flower_runs == ("101",)
    assert read_run(tmp_path, "first") == record
    assert record.run_settings == settings


def test_a_run_that_goes_on_keeps_its_settings_and_gets_another_number(
    tmp_path: Path, asked: list[tuple[str, ...]]
) -> None:
    first = submit(tmp_path, "first", _settings(tmp_path, "first"))
    submit(tmp_path, "second", _settings(tmp_path, "second"))
    resumed = submit(tmp_path, "first", read_run(tmp_path, "first").run_settings)
    assert resumed.flower_runs == ("101", "103")
    assert resumed.run_settings == first.run_settings
    assert asked[2] == asked[0]
    assert [run.name for run in read_runs(tmp_path)] == ["second", "first"]


def test_a_name_is_not_taken_over_by_a_run_with_other_settings(
    tmp_path: Path, asked: list[tuple[str, ...]]
) -> None:
    before = submit(tmp_path, "first", _settings(tmp_path, "first"))
    config = (tmp_path / "runs" / "first.run.toml").read_bytes()
    with pytest.raises(DeploymentError, match="run first: there is one with other settings"):
        submit(tmp_path, "first", _settings(tmp_path, "first", learner="svm"))
    assert len(asked) == 1
    assert read_run(tmp_path, "first") == before
    assert (tmp_path / "runs" / "first.run.toml").read_bytes() == config


def test_a_run_that_flower_refuses_is_not_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object) -> dict[str, Any]:
        raise DeploymentError("flwr run: no answer")

    monkeypatch.setattr(runs, "flwr", silent)
    with pytest.raises(DeploymentError, match="no answer"):
        submit(tmp_path, "first", _settings(tmp_path, "first"))
    assert read_runs(tmp_path) == []
    with pytest.raises(DeploymentError, match="run first: not known; known: none"):
        read_run(tmp_path, "first")


@pytest.mark.parametrize("content", ["", "{", '{"name": "../x", "settings": {}}', "[]"])
def test_a_damaged_record_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "first.run.json").write_text(content, encoding="utf-8")
    with pytest.raises(DeploymentError, match=r"first\.run\.json: damaged; remove it"):
        read_runs(tmp_path)


@pytest.mark.usefixtures("asked")
def test_progress_is_what_the_last_round_told(tmp_path: Path) -> None:
    run = submit(tmp_path, "first", _settings(tmp_path, "first"))
    none = progress_of(run)
    assert (none.rounds, none.stage, none.bytes_up, none.events) == (0, "", 0, ())
    with log_of(run) as log:
        log.emit("start", run="ab", sites=["dias"])
        log.emit("round", round=1, stage="moments", sites=["dias"], bytes_up=70, bytes_down=0)
        log.emit("round", round=2, stage="gram", sites=["dias"], bytes_up=90, bytes_down=40)
        log.emit("note", text="all is well")
        found = progress_of(run)
    assert (found.rounds, found.stage, found.bytes_up, found.bytes_down) == (2, "gram", 90, 40)
    assert [event["event"] for event in found.events] == ["start", "round", "round", "note"]
    assert not found.finished
    finish(run)
    done = progress_of(run)
    assert (done.finished, done.rounds, done.events) == (True, 2, found.events)


@pytest.mark.usefixtures("asked")
def test_bytes_of_fine_tuning_which_tells_those_of_each_round_add_up(tmp_path: Path) -> None:
    run = submit(tmp_path, "first", _settings(tmp_path, "first", strategy="fedavg"))
    with log_of(run) as log:
        log.emit("round", round=0, depth=0, bytes_up=5, bytes_down=1)
        log.emit("round", round=1, depth=2, bytes_up=70, bytes_down=80)
        # A kill between checkpoint and event lets a round be told twice.
        log.emit("round", round=1, depth=2, bytes_up=70, bytes_down=80)
        log.emit("round", round=2, depth=2, bytes_up=70, bytes_down=80)
    found = progress_of(run)
    assert (found.rounds, found.stage, found.bytes_up, found.bytes_down) == (2, "2", 145, 161)


def test_a_run_is_stopped_by_the_number_of_its_last_start(
    tmp_path: Path, asked: list[tuple[str, ...]]
) -> None:
    run = submit(tmp_path, "first", _settings(tmp_path, "first"))
    again = submit(tmp_path, "first", run.run_settings)
    runs.stop_run(tmp_path, again)
    assert asked[-1] == ("stop", "102")
    with pytest.raises(DeploymentError, match="run first: was never submitted"):
        runs.stop_run(tmp_path, run.model_copy(update={"flower_runs": ()}))
