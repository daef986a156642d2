"""``dermafed site init``: a site's key and its settings."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Annotated

import typer

from client.commands.site.folder import DEFAULT, SiteFolder
from client.deployment.keys import make_key
from client.deployment.programs import PUBLIC_KEY, SECRET
from client.deployment.settings import SITE_FILE, SiteFile, write_site_file
from common.cohort import load_cohort
from common.cohort_sites import rows_of_site
from common.console import output, say
from common.errors import SettingsError
from common.learners import LEARNERS, is_collective
from common.limits import DEFAULT_MINIMUM
from common.settings_file import check_settings_of
from common.trust import write_private


def init(
    site: Annotated[str, typer.Option(help="The site's name in the federation.")],
    cohort: Annotated[Path, typer.Option(help="Folder of the site's images.")],
    folder: SiteFolder = DEFAULT,
    minimum_count: Annotated[
        int, typer.Option(help="Fewest images that a number which leaves may be over.", min=2)
    ] = DEFAULT_MINIMUM,
    port: Annotated[int, typer.Option(help="For the site's own programs, on loopback.")] = 9094,
    cache: Annotated[Path | None, typer.Option(help="Folder of features.")] = None,
    threads: Annotated[
        int, typer.Option(help="Threads to fine-tune with; 0 for one a core.", min=0)
    ] = 0,
) -> None:
    """Make a site's key and settings; nothing is sent anywhere.

    The public half of the key is for the coordinator. The private half stays in the folder.

    Example:

      dermafed site init --site our-clinic --cohort /data/dermoscopy
    """
    # Refuses a name that the cohort does not have.
    rows_of_site(load_cohort(cohort), site)
    if (folder / SITE_FILE).exists():
        raise SettingsError(f"{folder / SITE_FILE}: exists already; edit it, or choose --folder")
    # Trees show what one site has made of its images: a site allows them by name, or not at all.
    sums = tuple(name for name in LEARNERS if not is_collective(name))
    made = check_settings_of(
        folder / SITE_FILE,
        SiteFile,
        {
            "site": site,
            "cohort": Path(os.path.normpath(cohort.absolute())),
            "cache": None if cache is None else Path(os.path.normpath(cache.absolute())),
            "port": port,
            "threads": threads,
            "bounds": {
                "learners": sums,
                "minimum_count": minimum_count,
            },
        },
    )
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    told = make_key(folder, site)
    write_private(folder / SECRET, secrets.token_bytes(32))
    write_site_file(folder, made)
    console = output()
    say(console, f"{folder / SITE_FILE}: what the site allows; read and change it")
    say(console, f"{folder / PUBLIC_KEY}: send this to the coordinator, who sends an invitation")
    say(console, f"its fingerprint, to compare on the telephone: {told}")
    say(console, f"next: dermafed site join INVITATION --folder {folder}")
