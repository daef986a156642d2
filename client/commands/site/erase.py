"""``dermafed site erase``: take what was computed of the images off the disk."""

from __future__ import annotations

from typing import Annotated

import typer

from client.commands.site.folder import DEFAULT, SiteFolder
from client.deployment.audit import AUDIT_FILE
from client.deployment.erasing import erase as erase_computed
from client.deployment.programs import KEY
from client.deployment.settings import SITE_FILE, read_site_file
from common.console import output, say
from common.feature_cache import default_cache


def erase(
    folder: SiteFolder = DEFAULT,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Erase cached features, states of fine-tuning and logs; images, key and trail stay.

    Whoever must forget an image takes it out of the cohort, and runs this: the next run makes the
    features of the images that are left. A run of fine-tuning that is under way goes on without
    this site. What the site has sent is not called back by this.

    Example:

      dermafed site erase
    """
    site, console = read_site_file(folder), output()
    if site.cache is None:
        say(
            console,
            f"{default_cache()} holds features of this user's other cohorts, too, which go as well",
        )
    if not yes and not typer.confirm("erase what was computed of the images?"):
        raise typer.Exit(1)
    erased = erase_computed(folder, site)
    for one in erased:
        say(console, f"erased {one.path} ({one.bytes:,} bytes)")
    if not erased:
        say(console, "nothing was there to erase")
    kept = [folder / name for name in (SITE_FILE, KEY, AUDIT_FILE) if (folder / name).exists()]
    say(console, f"kept {', '.join(map(str, kept))}, and the images in {site.cohort}")
