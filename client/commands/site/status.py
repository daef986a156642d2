"""``dermafed site status``: what runs, and what was asked last."""

from __future__ import annotations

import typer

from client.commands.site.folder import DEFAULT, SiteFolder
from client.deployment.audit import AUDIT_FILE, read_trail
from client.deployment.settings import read_site_file
from common.console import output, say
from common.deployment.supervisor import read_status


def status(folder: SiteFolder = DEFAULT) -> None:
    """Tell what runs at this site; the exit code is 1 if anything does not.

    Example:

      dermafed site status --folder /srv/dermafed
    """
    site, running, console = read_site_file(folder), read_status(folder), output()
    where = "no federation" if site.membership is None else site.membership.address
    say(console, f"{site.site}: {where}")
    for name in ("supernode", "worker"):
        process = running.services.get(name)
        text = "not running"
        if process is not None:
            text = f"process {process.pid}, {process.memory_info().rss / 1e6:,.0f} MB"
        say(console, f"{name}: {text}")
    entries = list(read_trail(folder / AUDIT_FILE))
    if entries:
        newest = entries[-1]
        said = newest["refused"] or "answered"
        say(console, f"last asked: {newest['time']} {newest['kind']}, run {newest['run']}, {said}")
    if running.supervisor is None or None in running.services.values():
        raise typer.Exit(1)
