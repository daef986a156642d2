"""``dermafed coordinator start``: Flower's SuperLink behind a proxy, and what belongs to it."""

from __future__ import annotations

from typing import Annotated

import typer

from common.console import messages, output, say
from common.deployment.flower import shown
from common.deployment.start import start_detached, start_here
from server.commands.coordinator.folder import DEFAULT, CoordinatorFolder
from server.deployment.programs import coordinator_services, superlink_command
from server.deployment.settings import read_coordinator_file
from server.deployment.setup import prepare_start, renew_certificate

_SOON = 30


def start(
    folder: CoordinatorFolder = DEFAULT,
    detach: Annotated[bool, typer.Option("--detach", help="Run in the background.")] = False,
    renew: Annotated[
        bool, typer.Option("--renew-certificate", help="Make a new server certificate first.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the commands and run nothing.")
    ] = False,
) -> None:
    """Run the coordinator until interrupted; what ends is started again.

    Sites reach one port, and behind it nothing but Flower's Fleet API. Everything else listens on
    loopback.

    Examples
    --------
      dermafed coordinator start
      dermafed coordinator start --detach
    """
    folder, console = folder.absolute(), messages()
    settings = read_coordinator_file(folder)
    if dry_run:
        for service in coordinator_services(folder, settings):
            flowers = service.name == "superlink"
            command = superlink_command(folder, settings) if flowers else service.command
            say(output(), shown(command))
        return
    if renew:
        renew_certificate(folder, settings)
    days = prepare_start(folder, settings)
    if days < _SOON:
        say(console, f"the server certificate ends in {days} days: --renew-certificate")
    services = coordinator_services(folder, settings)
    if not detach:
        start_here(services, folder)
    start_detached(services, folder, lambda line: say(console, line))
