"""A study on a terminal: bars with the time left and what is running; plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress as Bars
from rich.progress import TaskID

from common.console import bars, say
from common.features import Progress
from simulations.studies.open_lab import Display

_LINE_SECONDS = 10.0


@contextmanager
def screen(console: Console) -> Iterator[Display]:
    """Show a study's progress on a console for as long as it runs."""
    with bars(console) as shown:
        yield Display(
            images=lambda name: (
                _images(shown, name)
                if console.is_terminal
                else _Lines(console, name, says_the_end=False)
            ),
            pieces=lambda name: (
                _PieceBar(shown, name)
                if console.is_terminal
                else _Lines(console, name, says_the_end=True)
            ),
            note=lambda line: say(console, line),
        )


def _images(shown: Bars, name: str) -> Progress:
    task = shown.add_task(name, total=None)

    def report(done: int, total: int) -> None:
        shown.update(task, completed=done, total=total)

    return report


class _PieceBar:
    """Pieces done on one bar, and a line below it for each that is being worked on."""

    def __init__(self, shown: Bars, name: str) -> None:
        self._shown = shown
        self._task = shown.add_task(name, total=None)
        self._running: dict[str, TaskID] = {}

    def __call__(self, done: int, total: int, running: Sequence[str]) -> None:
        """Show pieces done, pieces in all, and those being worked on."""
        self._shown.update(self._task, completed=done, total=total)
        for name in self._running.keys() - set(running):
            self._shown.remove_task(self._running.pop(name))
        for name in running:
            if name not in self._running:
                self._running[name] = self._shown.add_task(f"  {name}", total=None)


class _Lines:
    """A line every few seconds, for a log."""

    def __init__(self, console: Console, name: str, *, says_the_end: bool) -> None:
        self._console, self._name, self._says_the_end = console, name, says_the_end
        self._start = self._last = time.monotonic()

    def __call__(self, done: int, total: int, running: Sequence[str] = ()) -> None:
        """Say what is done, how much there is, the time left and what is being worked on."""
        now = time.monotonic()
        if now - self._last < _LINE_SECONDS and not (self._says_the_end and done == total):
            return
        self._last = now
        left = ""
        if 0 < done < total:
            left = f", about {(now - self._start) / done * (total - done):.0f} s left"
        working = f"; running: {'; '.join(running)}" if running else ""
        say(self._console, f"{self._name}: {done} of {total} done{left}{working}")
