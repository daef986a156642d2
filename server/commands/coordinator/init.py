"""``dermafed coordinator init``: authority, certificate and settings of a federation."""

from __future__ import annotations

from typing import Annotated

import typer

from common.console import output, say
from common.settings_file import check_settings_of
from server.commands.coordinator.folder import DEFAULT, CoordinatorFolder
from server.deployment.programs import AUTHORITY_KEY
from server.deployment.settings import COORDINATOR_FILE, CoordinatorFile
from server.deployment.setup import make_coordinator


def init(
    host: Annotated[str, typer.Option(help="Name or address that sites reach this machine by.")],
    folder: CoordinatorFolder = DEFAULT,
    federation: Annotated[str, typer.Option(help="The federation's name.")] = "dermafed",
    port: Annotated[int, typer.Option(help="The port that sites come in by.")] = 8443,
    listen: Annotated[str, typer.Option(help="The address that it is opened on.")] = "0.0.0.0",  # noqa: S104
    flower_port: Annotated[int, typer.Option(help="Flower's own, on loopback.")] = 8444,
    page_port: Annotated[int, typer.Option(help="The page's, on loopback.")] = 8445,
) -> None:
    """Make a certificate authority, a server certificate and the settings of a federation.

    Example:

      dermafed coordinator init --host fed.example.org
    """
    folder = folder.absolute()
    settings = check_settings_of(
        "coordinator init",
        CoordinatorFile,
        {
            "federation": federation,
            "host": host,
            "listen": listen,
            "port": port,
            "flower_port": flower_port,
            "page_port": page_port,
        },
    )
    make_coordinator(folder, settings)
    console = output()
    say(console, f"{folder / COORDINATOR_FILE}: settings; sites come to {settings.address}")
    say(
        console,
        f"{folder / AUTHORITY_KEY}: move it to offline media; only --renew-certificate needs it, "
        "and who has it can pose as this coordinator",
    )
    say(console, f"next: dermafed coordinator start --folder {folder}")
