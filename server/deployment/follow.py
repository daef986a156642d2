"""Following a run until it ends, by what its ServerApp writes and what Flower says of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.errors import DeploymentError
from server.deployment.control import RunSeen, ask_superlink
from server.deployment.runs import Submitted, progress_of
from server.deployment.settings import CoordinatorFile

_EVERY, _ASK_EVERY, _PATIENCE = 0.5, 3.0, 180.0
_OWN = ("time", "event")


def follow(
    folder: Path, settings: CoordinatorFile, run: Submitted, report: Callable[[str], None]
) -> None:
    """Report events until the run has ended.

    Parameters
    ----------
    folder : Path
        Of the coordinator.
    settings : CoordinatorFile
        Its settings.
    run : Submitted
        The run.
    report : callable
        Called with a line of text for each event.

    Raises
    ------
    DeploymentError
        If it failed, or its SuperLink does not come back.
    """
    *earlier, number = run.flower_runs
    # What a run told before it was resumed, its operator has seen.
    told = len(progress_of(run).events) if earlier else 0
    asked = silent = 0.0
    while True:
        seen: RunSeen | None = None
        now = time.monotonic()
        if now - asked >= _ASK_EVERY:
            asked = now
            try:
                seen = ask_superlink(folder, settings).runs.get(number)
                silent = 0.0
            except DeploymentError:
                # The supervisor starts it again, and the ServerApp waits for it.
                silent = silent or now
                if now - silent > _PATIENCE:
                    raise
        # After the asking: what a run tells last is told of one that has finished, too.
        events = progress_of(run).events
        for event in events[told:]:
            report(_line(event))
        told = max(told, len(events))
        if seen is not None and seen.state == "finished":
            _end(run, seen, report)
            return
        time.sleep(_EVERY)


def _end(run: Submitted, seen: RunSeen, report: Callable[[str], None]) -> None:
    out = run.run_settings.out
    if seen.outcome == "completed" and progress_of(run).finished:
        report(f"finished: {out}")
        return
    raise DeploymentError(
        f"run {run.name} {seen.outcome or 'ended'}: {seen.details or 'no reason given'}. It goes "
        f"on from its last round with dermafed coordinator run --resume {run.name}"
    )


def _line(event: dict[str, Any]) -> str:
    kind = str(event["event"])
    if kind == "note":
        return str(event["text"])
    # A round of sums; of one of fine-tuning, all is told.
    if kind == "round" and "stage" in event:
        sites, up = len(event.get("sites", ())), event.get("bytes_up", 0) / 1e6
        return (
            f"round {event['round']}: {event['stage']}, {sites} sites, {up:.2f} MB from them so far"
        )
    facts = ", ".join(
        f"{name} {value}"
        for name, value in event.items()
        if name not in _OWN and not isinstance(value, dict)
    )
    return f"{kind}: {facts}" if facts else kind
