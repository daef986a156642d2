"""``dermafed site leave``: stop, and trust the coordinator no more."""

from __future__ import annotations

from typing import Annotated

import typer

from client.commands.site.folder import DEFAULT, SiteFolder
from client.deployment.membership import forget
from client.deployment.settings import SITE_FILE, read_site_file
from common.console import messages, say
from common.deployment.running import read_status, stop_all


def leave(
    folder: SiteFolder = DEFAULT,
    stop_only: Annotated[
        bool, typer.Option("--stop-only", help="Stop for now; dermafed site join starts again.")
    ] = False,
) -> None:
    """Stop answering, and forget the coordinator; the site's key and its trail stay.

    What the site has sent is not called back by this. A model that was made with a ledger can be
    freed of it by the coordinator, with dermafed withdraw.

    Example:

      dermafed site leave
    """
    console = messages()
    # A mistake in site.toml keeps no site from being stopped.
    if read_status(folder).supervisor is None and not (folder / SITE_FILE).exists():
        read_site_file(folder)
    stopped = stop_all(folder)
    say(console, f"stopped: {', '.join(stopped) or 'nothing was running'}")
    if not stop_only:
        forget(folder, read_site_file(folder))
        say(console, "left; tell the coordinator, who removes the key")
        say(
            console,
            "a removed key is never taken again: before you come back, make a new one with "
            f"dermafed site new-key --folder {folder}",
        )
