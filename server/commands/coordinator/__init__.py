"""``dermafed coordinator``: run a federation of hospitals."""

from __future__ import annotations

import typer

from server.commands.coordinator.init import init
from server.commands.coordinator.invite import invite, remove
from server.commands.coordinator.run import run
from server.commands.coordinator.sites import sites
from server.commands.coordinator.start import start
from server.commands.coordinator.status import status
from server.commands.coordinator.stop import stop

app = typer.Typer(
    name="coordinator",
    add_completion=False,
    no_args_is_help=True,
    help="Run a federation of hospitals.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (init, start, invite, remove, sites, run, status, stop):
    app.command()(command)
