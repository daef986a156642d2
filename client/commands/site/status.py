"""``dermafed site status``: what runs, and what was asked last."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console

from client.commands.site.folder import DEFAULT, SiteFolder
from client.deployment.audit import AUDIT_FILE, read_trail
from client.deployment.checkup import check_coordinator
from client.deployment.settings import SiteFile, read_site_file
from common.console import output, say
from common.deployment.running import read_status
from common.errors import SettingsError


def status(folder: SiteFolder = DEFAULT) -> None:
    """Tell what runs at this site, and whether the coordinator is reached.

    The exit code is 1 if anything does not run, ended within the last minutes, or is wrong.

    Example:

      dermafed site status --folder /srv/dermafed
    """
    running, console = read_status(folder), output()
    right = running.supervisor is not None and None not in running.services.values()
    try:
        site = read_site_file(folder)
    except SettingsError as error:
        # What runs goes on as it began; who repairs the file wants to know.
        if running.supervisor is None:
            raise
        say(console, f"WRONG settings: {error}")
        right = False
    else:
        right &= _coordinator(folder, site, console)
    for name in ("supernode", "worker"):
        process, ended = running.services.get(name), running.ended.get(name, "")
        text = "not running"
        if process is not None:
            text = f"process {process.pid}, {process.memory_info().rss / 1e6:,.0f} MB"
        say(console, f"{name}: {text}{f'; {ended}' if ended else ''}")
        right &= not ended
    entries = list(read_trail(folder / AUDIT_FILE))
    if entries:
        newest = entries[-1]
        said = newest["refused"] or "answered"
        say(console, f"last asked: {newest['time']} {newest['kind']}, run {newest['run']}, {said}")
    if not right:
        raise typer.Exit(1)


def _coordinator(folder: Path, site: SiteFile, console: Console) -> bool:
    """Tell whether the coordinator can be reached, as a new connection would."""
    if site.membership is None:
        say(console, f"{site.site}: no federation")
        return True
    found = check_coordinator(folder, site.membership)
    say(console, f"{site.site}: {site.membership.address}")
    say(console, f"{'' if found.right else 'WRONG '}coordinator: {found.text}")
    return found.right
