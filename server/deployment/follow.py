"""Following a run until it ends, by what its ServerApp writes and what Flower says of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from common.errors import DeploymentError
from server.deployment.control import RunSeen, ask_superlink
from server.deployment.expected import Expected, expected
from server.deployment.runs import RunProgress, Submitted, progress_of
from server.deployment.settings import CoordinatorFile
from server.finetuning.lines import round_line

_EVERY, _ASK_EVERY, _PATIENCE = 0.5, 3.0, 180.0
_OWN = ("time", "event")

Show = Callable[[RunProgress, Expected], None]


def _show_nothing(_progress: RunProgress, _expected: Expected) -> None:
    return


def follow(
    folder: Path,
    settings: CoordinatorFile,
    run: Submitted,
    report: Callable[[str], None],
    show: Show = _show_nothing,
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
    show : callable
        Called with how far the run is, and what is expected of it, at each look.

    Raises
    ------
    DeploymentError
        If it failed, its SuperLink does not come back, or does not know it.
    """
    *earlier, number = run.flower_runs
    length = expected(run.run_settings)
    # What a run told before it was resumed, its operator has seen.
    told = len(progress_of(run).events) if earlier else 0
    asked = silent = 0.0
    while True:
        seen: RunSeen | None = None
        missing = False
        now = time.monotonic()
        if now - asked >= _ASK_EVERY:
            asked = now
            try:
                seen = ask_superlink(folder, settings).runs.get(number)
                silent, missing = 0.0, seen is None
            except DeploymentError:
                # The supervisor starts it again, and the ServerApp waits for it.
                silent = silent or now
                if now - silent > _PATIENCE:
                    raise
        # After the asking: what a run tells last is told of one that has finished, too.
        progress = progress_of(run)
        for event in progress.events[told:]:
            report(_line(event, progress, length))
        told = max(told, len(progress.events))
        show(progress, length)
        if missing or (seen is not None and seen.state == "finished"):
            _end(run, seen, report)
            return
        time.sleep(_EVERY)


def is_under_way(folder: Path, settings: CoordinatorFile, run: Submitted) -> bool:
    """Tell whether Flower has not ended a run yet.

    Raises
    ------
    DeploymentError
        If the SuperLink does not answer.
    """
    if not run.flower_runs:
        return False
    seen = ask_superlink(folder, settings).runs.get(run.flower_runs[-1])
    return seen is not None and seen.state != "finished"


def _end(run: Submitted, seen: RunSeen | None, report: Callable[[str], None]) -> None:
    out = run.run_settings.out
    # A run whose result is there is done, whether Flower still knows it or not.
    if (seen is None or seen.outcome == "completed") and progress_of(run).finished:
        report(f"finished: {out}{_worth(Path(out))}")
        return
    onward = f"dermafed coordinator run --resume {run.name}"
    if seen is None:
        raise DeploymentError(
            f"run {run.name}: the SuperLink knows no run {run.flower_runs[-1]}; its database was "
            f"removed, or it is another coordinator's. The run goes on from its last round with "
            f"{onward}"
        )
    told = f": {seen.details.rstrip('. ')}" if seen.details else ""
    rounds = any(event["event"] == "round" for event in progress_of(run).events)
    further = "goes on from its last round" if rounds else "begins again, once that is mended,"
    raise DeploymentError(
        f"run {run.name} {seen.outcome or 'ended'}{told}. It {further} with {onward}"
    )


def _worth(out: Path) -> str:
    """Give the pooled balanced accuracy on test images, where a run could measure it."""
    try:
        found = json.loads((out / "result.json").read_text(encoding="utf-8"))
        value, low, high = found["test"]["pooled"]["metrics"]["balanced_accuracy"]
    except (OSError, ValueError, LookupError, TypeError):
        return ""
    if value is None:
        return ""
    interval = "" if low is None else f" ({low:.3f} to {high:.3f})"
    return f"; balanced accuracy on test images {value:.3f}{interval}"


def _line(event: dict[str, Any], progress: RunProgress, length: Expected) -> str:
    kind = str(event["event"])
    if kind == "note":
        return str(event["text"])
    if kind == "round" and "stage" in event:
        sites, up = len(event.get("sites", ())), event.get("bytes_up", 0) / 1e6
        return (
            f"round {event['round']}{length.total}: {event['stage']}, {sites} sites, "
            f"{up:.2f} MB from them so far"
        )
    if kind == "round" and "depth" in event and length.rounds is not None:
        rounds = [one for one in progress.events if one["event"] == "round"]
        return round_line(event, rounds[: rounds.index(event) + 1], length.rounds)
    facts = ", ".join(
        f"{name} {value}"
        for name, value in event.items()
        if name not in _OWN and not isinstance(value, dict)
    )
    return f"{kind}: {facts}" if facts else kind
