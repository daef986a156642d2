"""``dermafed coordinator status``: sites and runs, as they are or as they change."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live

from common.console import output, say
from common.deployment.running import read_status
from server.commands.coordinator.folder import DEFAULT, CoordinatorFolder
from server.commands.coordinator.tables import run_table, site_table
from server.deployment.overview import look
from server.deployment.settings import read_coordinator_file

_EVERY = 2.0


def status(
    folder: CoordinatorFolder = DEFAULT,
    watch: Annotated[bool, typer.Option("--watch", help="Show changes until Ctrl-C.")] = False,
    last: Annotated[int, typer.Option(help="Runs to show.", min=1)] = 5,
) -> None:
    """Show the programs, the sites and the last runs.

    Example:

      dermafed coordinator status --watch
    """
    folder, console = folder.absolute(), output()
    settings = read_coordinator_file(folder)
    running = read_status(folder)
    for name, process in running.services.items():
        text = "not running" if process is None else f"process {process.pid}"
        say(console, f"{name}: {text}")
    say(console, f"sites come to {settings.address}; page on http://127.0.0.1:{settings.page_port}")

    def tables() -> Group:
        found = look(folder, settings)
        return Group(site_table(found), run_table(found, last))

    if not watch:
        console.print(tables())
        return
    with suppress(KeyboardInterrupt), Live(tables(), console=console, auto_refresh=False) as live:
        while True:
            time.sleep(_EVERY)
            live.update(tables(), refresh=True)
