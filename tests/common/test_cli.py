"""The command line: an error is one line that says what failed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from common import cli
from common.errors import CohortError, DermafedError, InterruptionError

SCRIPT = Path(sys.executable).with_name("dermafed")


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("length", [200, 300, 3000])
def test_an_error_with_a_very_long_name_is_one_unbroken_line(tmp_path: Path, length: int) -> None:
    folder = str(tmp_path / ("very long name " * (length // 15)).strip())
    done = _run("data", "check", folder)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"dermafed: {folder}: ")
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith("\n")


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        (("data", "check", "here", "--no-such-option"), "--no-such-option"),
        (("no-such-command",), "no-such-command"),
        (("data", "check"), "COHORT"),
        (("data", "check", "here", "--split-seed", "many"), "many"),
    ],
)
def test_a_wrong_use_is_one_line_and_exit_code_2(arguments: tuple[str, ...], wrong: str) -> None:
    done = _run(*arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("dermafed: ")
    assert wrong in done.stderr
    assert done.stderr.count("\n") == 1


def _fails_with(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    def app(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(cli, "app", app)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as caught:
        cli.main([])
    assert isinstance(caught.value.code, int)
    return caught.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("one\ntwo", "one two"),
        ("a\x1b[2Jb\r", r"a\x1b[2Jb\r"),
        ("Klinikum München: ≤ 5", "Klinikum München: ≤ 5"),
    ],
)
def test_a_message_neither_breaks_the_line_nor_steers_the_terminal(
    message: str,
    shown: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = _fails_with(CohortError(message), monkeypatch, capsys)
    assert found == (1, f"dermafed: {shown}\n")


@pytest.mark.parametrize(
    ("interruption", "told"),
    [
        # Of features, too, only a command that makes some may say anything.
        (KeyboardInterrupt(), "interrupted"),
        (InterruptionError("the run goes on"), "interrupted; the run goes on"),
    ],
)
def test_an_interruption_says_no_more_than_the_command_does(
    interruption: BaseException,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = _fails_with(interruption, monkeypatch, capsys)
    assert found == (130, f"dermafed: {told}\n")


def test_an_error_of_our_own_making_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def app(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(cli, "app", app)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(ZeroDivisionError):
        cli.main([])


def test_every_kind_of_error_is_one_that_the_command_line_catches() -> None:
    import common.errors

    kinds = [kind for kind in vars(common.errors).values() if isinstance(kind, type)]
    assert len(kinds) > 5
    assert all(issubclass(kind, DermafedError) for kind in kinds)


def test_help_lists_the_commands_of_every_package() -> None:
    shown = CliRunner().invoke(cli.app, ["--help"])
    assert shown.exit_code == 0
    assert all(name in shown.output for name in ("data", "features", "predict", "simulate"))


@pytest.mark.parametrize("name", ["data", "features", "predict", "simulate"])
def test_every_command_loads_and_explains_itself(name: str) -> None:
    shown = CliRunner().invoke(cli.app, [name, "--help"])
    assert shown.exit_code == 0
    assert "Usage" in shown.output


def test_asking_for_help_waits_for_no_framework() -> None:
    code = (
        "import sys; from common.cli import app; from typer.testing import CliRunner;"
        "CliRunner().invoke(app, ['--help']);"
        "print([m for m in ('torch', 'ray', 'flwr') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_flower_and_ray_are_told_not_to_phone_home(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, str] = {}

    def app(*_: object, **__: object) -> None:
        import os

        seen.update({name: os.environ[name] for name in cli.NO_TELEMETRY})
        raise typer.Abort

    monkeypatch.setattr(cli, "app", app)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    others = ("FLWR_TELEMETRY_ENABLED", "FLWR_DISABLE_UPDATE_CHECK", "MLFLOW_DISABLE_TELEMETRY")
    for name in others:
        # Set first, so that it is gone again afterwards.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    with pytest.raises(SystemExit):
        cli.main([])
    assert seen == {
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "RAY_USAGE_STATS_ENABLED": "1",
    }
