"""``dermafed site new-key``: another key for a site that has one."""

from __future__ import annotations

from client.commands.site.folder import DEFAULT, SiteFolder
from client.deployment.keys import replace_key
from client.deployment.programs import PUBLIC_KEY
from client.deployment.settings import read_site_file
from common.console import output, say


def new_key(folder: SiteFolder = DEFAULT) -> None:
    """Make a new key in the place of the site's key; everything else stays as it is.

    For a site whose key the coordinator has removed, which is never taken again, or for a change
    of keys from time to time. Nothing is kept of the old key. Settings, audit trail, features and
    the coordinator that the site has joined stay.

    Example:

      dermafed site leave --stop-only
      dermafed site new-key
    """
    site = read_site_file(folder)
    told = replace_key(folder, site.site)
    console = output()
    say(console, f"{folder / PUBLIC_KEY}: a new key; send this to the coordinator")
    say(console, f"its fingerprint, to compare on the telephone: {told}")
    say(console, f"the coordinator: dermafed coordinator remove {site.site}, unless it has done so")
    say(console, f"and then: dermafed coordinator invite {site.site} --key {PUBLIC_KEY}")
    say(console, f"next: dermafed site join INVITATION --folder {folder}")
