"""``dermafed site join``: trust a coordinator, and run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from client.commands.site.folder import DEFAULT, SiteFolder
from client.deployment.membership import accept, restore_trust
from client.deployment.programs import site_services, supernode_command
from client.deployment.settings import read_site_file
from common.console import messages, output, say
from common.deployment.flower import shown
from common.deployment.start import start_detached, start_here
from common.trust import certificate_fingerprint


def join(
    invitation: Annotated[
        Path | None,
        typer.Argument(help="From the coordinator; not needed again once the site has joined."),
    ] = None,
    folder: SiteFolder = DEFAULT,
    detach: Annotated[bool, typer.Option("--detach", help="Run in the background.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print Flower's command and run nothing.")
    ] = False,
) -> None:
    """Join a federation and answer its runs until interrupted.

    The invitation says which coordinator to trust, and which app bundle to pin. It is refused
    where it is for another site or key, or the coordinator has other code than this site.

    Examples
    --------
      dermafed site join our-clinic.invitation.toml
      dermafed site join --detach            # again, after a restart
    """
    site = read_site_file(folder)
    if invitation is not None:
        site = accept(folder, site, invitation)
    folder, console = folder.absolute(), messages()
    if invitation is not None and site.membership is not None:
        told = certificate_fingerprint(site.membership.authority)
        say(console, f"accepted: {site.site} trusts the coordinator at {site.membership.address}")
        say(console, f"its authority's fingerprint, to compare on the telephone: {told}")
    if dry_run:
        say(output(), shown(supernode_command(folder, site)))
        return
    services = site_services(folder, site)
    restore_trust(folder, site)
    if not detach:
        start_here(services, folder)
    start_detached(services, folder, lambda line: say(console, line))
    say(console, "dermafed site status tells whether the coordinator takes it")
