"""What commands that run the lab do alike: folder, imports, progress, the sites left out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from common.console import messages, progress_bar, say
from common.errors import SettingsError
from common.settings import RunSettings
from simulations.commands.folders import with_cohort

if TYPE_CHECKING:
    from simulations.hosts import Display


class Run(Protocol):
    """A run of the lab."""

    def __call__(
        self, settings: RunSettings, *, ray_address: str | None, display: Display
    ) -> dict[str, Any]:
        """Run, and give what ``result.json`` holds."""


def dated_folder(command: str) -> Path:
    """Name the run folder of a command that is given none."""
    return Path("runs") / datetime.now().astimezone().strftime(f"{command}-%Y%m%d-%H%M%S")


@contextmanager
def simulation_extra() -> Iterator[None]:
    """Name the extra to install where an import of the body fails.

    Raises
    ------
    SettingsError
        If a package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"{error.name} is not installed; install dermafed with the extra simulation"
        ) from error


def run_shown(run: Run, settings: RunSettings, ray_address: str | None) -> dict[str, Any]:
    """Run with a progress bar, on the embedded cohort if none is named; name the sites left out.

    Returns
    -------
    dict
        What ``result.json`` holds.

    Raises
    ------
    DermafedError
        As the run.
    """
    from simulations.hosts import Display

    console = messages()
    settings = with_cohort(settings, console)
    with progress_bar(console, "start") as bar:
        display = Display(bar.describe, bar, lambda line: say(console, line))
        result = run(settings, ray_address=ray_address, display=display)
    for name, reason in result["partition"]["left_out"].items():
        say(console, f"site {name} left out: {reason}")
    return result
