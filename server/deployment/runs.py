"""A coordinator's runs: submitted to Flower, followed by their events, resumed by settings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from common.errors import DeploymentError, RunFolderError
from common.settings import RunSettings
from common.whole_file import whole_file
from server.deployment.flower import flwr, flwr_command
from server.deployment.programs import BUNDLE
from server.events import EVENTS_FILE, read_events
from server.result import RESULT_FILE

RUNS = "runs"
_RECORD, _CONFIG = ".run.json", ".run.toml"


class Submitted(BaseModel):
    """A run as it was submitted last.

    Attributes
    ----------
    name : str
        Of its folder.
    flower_runs : tuple of str
        Flower's numbers of it, the last one's last: a run that is resumed is a new one there.
    settings : dict
        What `common.settings.RunSettings` holds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,99}$")
    flower_runs: tuple[str, ...] = ()
    settings: dict[str, Any]

    @property
    def run_settings(self) -> RunSettings:
        """The settings, checked."""
        return RunSettings.from_run_config(self.settings)


@dataclass(frozen=True)
class RunProgress:
    """How far a run is.

    Attributes
    ----------
    rounds : int
        Rounds done.
    stage : str
        What the last one was.
    bytes_up, bytes_down : int
        From and to sites, so far.
    finished : bool
        Whether its result is there.
    events : tuple of dict
        All that was told, oldest first.
    """

    rounds: int
    stage: str
    bytes_up: int
    bytes_down: int
    finished: bool
    events: tuple[dict[str, Any], ...]


def submit_command(folder: Path, name: str) -> tuple[str, ...]:
    """Give Flower's command that submits a run."""
    return flwr_command(*_arguments(folder, name))


def submit(folder: Path, name: str, settings: RunSettings) -> Submitted:
    """Submit a run, or submit one again so that it goes on from its last round.

    Raises
    ------
    DeploymentError
        If the name is none or another run's, or Flower refuses it.
    """
    record = write_settings(folder, name, settings)
    found = flwr(folder, *_arguments(folder, name))
    numbers = (*record.flower_runs, str(found["run-id"]))
    record = record.model_copy(update={"flower_runs": numbers})
    _write(folder, record)
    return record


def stop_run(folder: Path, run: Submitted) -> None:
    """Let Flower end a run; what its finished rounds left stays.

    Raises
    ------
    DeploymentError
        If it is not under way, or was never submitted.
    """
    if not run.flower_runs:
        raise DeploymentError(f"run {run.name}: was never submitted")
    flwr(folder, "stop", run.flower_runs[-1])


def write_settings(folder: Path, name: str, settings: RunSettings) -> Submitted:
    """Write a run's settings, as Flower's command reads them.

    Raises
    ------
    DeploymentError
        If the name is none, or that of a run with other settings, which could not go on then.
    """
    try:
        record = Submitted(name=name, settings=settings.run_config())
    except ValidationError as error:
        raise DeploymentError(
            f"run {name!r}: give a name of letters, digits, dots, dashes and underscores"
        ) from error
    if _exists(folder, name):
        before = read_run(folder, name)
        if before.run_settings != settings:
            raise DeploymentError(
                f"run {name}: there is one with other settings; choose another name, or go on "
                f"with it: dermafed coordinator run --resume {name}"
            )
        record = record.model_copy(update={"flower_runs": before.flower_runs})
    (folder / RUNS).mkdir(exist_ok=True)
    with whole_file(folder / RUNS / f"{name}{_CONFIG}") as path:
        path.write_text(tomli_w.dumps(settings.run_config()), encoding="utf-8")
    return record


def read_run(folder: Path, name: str) -> Submitted:
    """Read a run that was submitted.

    Raises
    ------
    DeploymentError
        If there is none of the name.
    """
    if not _exists(folder, name):
        known = ", ".join(run.name for run in read_runs(folder)) or "none"
        raise DeploymentError(f"run {name}: not known; known: {known}")
    return _read(folder / RUNS / f"{name}{_RECORD}")


def read_runs(folder: Path) -> Sequence[Submitted]:
    """Read all runs that were submitted, the last one last."""
    paths = (folder / RUNS).glob(f"*{_RECORD}")
    return [_read(path) for path in sorted(paths, key=_written)]


def progress_of(run: Submitted) -> RunProgress:
    """Tell how far a run is, from what its ServerApp has written."""
    out, unfinished = Path(run.run_settings.out), run.run_settings.unfinished
    finished = (out / RESULT_FILE).is_file()
    events: list[dict[str, Any]] = []
    for path in (unfinished / EVENTS_FILE, out / EVENTS_FILE):
        try:
            events = read_events(path)
            break
        except RunFolderError:
            continue
    rounds = [one for one in events if one["event"] == "round"]
    last = rounds[-1] if rounds else {}
    up, down = (_bytes_so_far(rounds, name) for name in ("bytes_up", "bytes_down"))
    return RunProgress(
        rounds=int(last.get("round", 0)),
        stage=str(last.get("stage", last.get("depth", ""))),
        bytes_up=up,
        bytes_down=down,
        finished=finished,
        events=tuple(events),
    )


def _bytes_so_far(rounds: Sequence[Mapping[str, Any]], name: str) -> int:
    """Add up what fine-tuning tells of each round; sums tell what there was so far."""
    if not rounds or "depth" not in rounds[-1]:
        return int(rounds[-1].get(name, 0)) if rounds else 0
    return sum({one["round"]: int(one.get(name, 0)) for one in rounds}.values())


def _written(path: Path) -> tuple[int, str]:
    return path.stat().st_mtime_ns, path.name


def _arguments(folder: Path, name: str) -> tuple[str, ...]:
    config = folder / RUNS / f"{name}{_CONFIG}"
    return ("run", str(folder / BUNDLE), "--run-config", str(config))


def _exists(folder: Path, name: str) -> bool:
    return (folder / RUNS / f"{name}{_RECORD}").is_file()


def _write(folder: Path, record: Submitted) -> None:
    with whole_file(folder / RUNS / f"{record.name}{_RECORD}") as path:
        path.write_text(json.dumps(record.model_dump(), indent=1), encoding="utf-8")


def _read(path: Path) -> Submitted:
    try:
        return Submitted.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise DeploymentError(f"{path}: damaged; remove it") from error
