"""Runs of a coordinator, and what their ServerApps would write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common.settings import RunSettings
from server.deployment.runs import Submitted
from server.events import EventLog


def submitted(folder: Path, name: str, **changes: Any) -> Submitted:
    """Give a run as if Flower had taken it as number 101."""
    settings = RunSettings(out=str(folder / "runs" / name), sites=2, **changes)
    return Submitted(name=name, flower_runs=("101",), settings=settings.run_config())


def log_of(run: Submitted, *, finished: bool = False) -> EventLog:
    """Open the events of a run's ServerApp."""
    told = run.run_settings
    return EventLog((Path(told.out) if finished else told.unfinished) / "events.jsonl")


def finish(run: Submitted) -> None:
    """Let the run folder appear, as its ServerApp does."""
    out = Path(run.run_settings.out)
    run.run_settings.unfinished.rename(out)
    (out / "result.json").write_text("{}", encoding="utf-8")
