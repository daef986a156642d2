"""``dermafed coordinator stop``: nothing is left running, or a run is ended."""

from __future__ import annotations

from typing import Annotated

import typer

from common.console import messages, say
from common.deployment.running import stop_all
from server.commands.coordinator.folder import DEFAULT, CoordinatorFolder
from server.deployment.runs import read_run, stop_run
from server.deployment.settings import read_coordinator_file


def stop(
    folder: CoordinatorFolder = DEFAULT,
    run: Annotated[str, typer.Option(help="Stop the run of this name, and nothing else.")] = "",
) -> None:
    """Stop the coordinator's programs, and a run that is under way.

    The run goes on from its last round with dermafed coordinator run --resume.

    Examples
    --------
      dermafed coordinator stop
      dermafed coordinator stop --run 20261121-093000
    """
    folder, console = folder.absolute(), messages()
    if run:
        read_coordinator_file(folder)
        stop_run(folder, read_run(folder, run))
        say(console, f"run {run}: stopped; dermafed coordinator run --resume {run} goes on with it")
        return
    stopped = stop_all(folder)
    say(console, f"stopped: {', '.join(stopped) or 'nothing was running'}")
