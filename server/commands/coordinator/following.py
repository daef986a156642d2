"""A run on the terminal: its events as lines, and a bar with the time left below them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from common.cli import INTERRUPTED
from common.console import bars, say
from server.deployment.expected import Expected
from server.deployment.follow import Show, follow
from server.deployment.runs import RunProgress, Submitted
from server.deployment.settings import CoordinatorFile

# Rounds over real sites take seconds to minutes: of how many the bar's speed is the mean.
_MEMORY = 3600.0


def follow_shown(folder: Path, settings: CoordinatorFile, run: Submitted, console: Console) -> None:
    """Follow a run until it ends, or until Ctrl-C, which does not end it.

    Raises
    ------
    DeploymentError
        As `follow`.
    """
    with goes_on(run.name, folder, console), progress_shown(console) as show:
        follow(folder, settings, run, lambda line: say(console, line), show)


@contextmanager
def goes_on(name: str, folder: Path, console: Console) -> Iterator[None]:
    """After Ctrl-C, say that the run goes on, how to follow it again and how to stop it."""
    try:
        yield
    except KeyboardInterrupt:
        where = f"--folder {folder}"
        say(console, f"run {name} goes on at the coordinator")
        say(console, f"follow it again: dermafed coordinator run --resume {name} {where}")
        say(console, f"stop it: dermafed coordinator stop --run {name} {where}")
        raise SystemExit(INTERRUPTED) from None


@contextmanager
def progress_shown(console: Console) -> Iterator[Show]:
    """Show how far a run is, on a terminal and nowhere else."""
    with bars(console, _MEMORY) as shown:
        task = shown.add_task("waiting for sites", total=None)

        def show(progress: RunProgress, length: Expected) -> None:
            if not progress.events:
                return
            shown.update(
                task,
                description=describe(progress, length),
                completed=progress.rounds,
                total=length.rounds,
            )

        yield show


def describe(progress: RunProgress, length: Expected) -> str:
    """Say what a run is at."""
    if not any(event["event"] == "round" for event in progress.events):
        return "first round" if length.stages else "exact head"
    if length.rounds is not None and progress.rounds >= length.rounds:
        return "test"
    place = length.place(progress.stage)
    after = f", {place}" if place else ""
    if length.rounds is None and length.most is not None:
        after += f", at most {length.most} in all"
    # The stage is that of the last round; what comes next, the sums tell.
    return f"rounds ({progress.stage}{after})" if length.stages else "rounds"
