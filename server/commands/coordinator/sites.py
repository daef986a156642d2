"""``dermafed coordinator sites``: who is invited, and who is there."""

from __future__ import annotations

import typer

from common.console import output, say
from common.trust import fingerprint
from server.commands.coordinator.folder import DEFAULT, CoordinatorFolder
from server.commands.coordinator.tables import site_table
from server.deployment.overview import look
from server.deployment.registry import REGISTRY_FILE, read_registry
from server.deployment.settings import read_coordinator_file


def sites(folder: CoordinatorFolder = DEFAULT) -> None:
    """List the invited sites and their keys; the exit code is 1 unless all are online.

    Example:

      dermafed coordinator sites
    """
    folder = folder.absolute()
    found = look(folder, read_coordinator_file(folder))
    if not found.sites:
        say(output(), "no site is invited yet: dermafed coordinator invite SITE --key SITE.pub")
        return
    members = read_registry(folder / REGISTRY_FILE)
    keys = {member.site: fingerprint(member.key.encode()) for member in members}
    output().print(site_table(found, keys))
    if any(site.state != "online" for site in found.sites):
        raise typer.Exit(1)
