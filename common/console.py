"""Tables and progress for people; plain unbroken lines for everything else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

# A file's name must come out whole where output is not a terminal, however long it is.
_UNBROKEN = 10_000


def output() -> Console:
    """Make the console of standard output."""
    return Console() if sys.stdout.isatty() else Console(width=200)


def messages() -> Console:
    """Make the console of standard error."""
    return Console(stderr=True) if sys.stderr.isatty() else Console(stderr=True, width=_UNBROKEN)


def say(console: Console, line: str) -> None:
    """Print a line as it is: never broken, and nothing in it is markup or the name of an emoji."""
    console.print(line, highlight=False, soft_wrap=True, markup=False, emoji=False)


class Bar:
    """A progress bar with the time left; call it with (done, total)."""

    def __init__(self, progress: Progress, description: str) -> None:
        self._progress = progress
        self._task = progress.add_task(description, total=None)

    def __call__(self, done: int, total: int) -> None:
        """Show how much is done."""
        self._progress.update(self._task, completed=done, total=total)

    def describe(self, description: str) -> None:
        """Begin another piece of work, of unknown length until it reports."""
        self._progress.remove_task(self._task)
        self._task = self._progress.add_task(description, total=None)


def bars(console: Console, memory: float = 30.0) -> Progress:
    """Make progress bars with the time left, shown on a terminal and nowhere else.

    Parameters
    ----------
    console : Console
        Where.
    memory : float
        Seconds over which the speed is taken; more than a step of the work.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    return Progress(
        *columns,
        console=console,
        transient=True,
        disable=not console.is_terminal,
        speed_estimate_period=memory,
    )


@contextmanager
def progress_bar(console: Console, description: str) -> Iterator[Bar]:
    """Show a bar on a terminal, and nothing elsewhere."""
    with bars(console) as progress:
        yield Bar(progress, description)
