"""A site's key pair: the first one, and another in its place."""

from __future__ import annotations

from pathlib import Path

from client.deployment.programs import KEY, PUBLIC_KEY
from common.deployment.lock import alone
from common.deployment.running import read_status
from common.errors import DeploymentError
from common.trust import fingerprint, new_site_key, write_private, write_public
from common.whole_file import whole_file


def make_key(folder: Path, site: str) -> str:
    """Make a site's first key.

    Parameters
    ----------
    folder : Path
        Of the site.
    site : str
        Its name, which goes behind the public half.

    Returns
    -------
    str
        The key's fingerprint.

    Raises
    ------
    TrustError
        If there is one already.
    """
    private, public = new_site_key(site)
    write_private(folder / KEY, private)
    write_public(folder / PUBLIC_KEY, public)
    return fingerprint(public)


def replace_key(folder: Path, site: str) -> str:
    """Make another key in the place of a site's key, of which nothing is kept.

    Parameters
    ----------
    folder : Path
        Of the site, whose programs must not run: they read the key when they start.
    site : str
        Its name, which goes behind the public half.

    Returns
    -------
    str
        The new key's fingerprint.

    Raises
    ------
    DeploymentError
        If the site's programs run.
    """
    status = read_status(folder)
    # Of a supervisor that was killed, the programs may still go on.
    if status.supervisor is not None or any(status.services.values()):
        raise DeploymentError(
            f"{folder}: runs, with the key that it has; stop it first: "
            f"dermafed site leave --stop-only --folder {folder}"
        )
    private, public = new_site_key(site)
    with alone(folder):
        # The private half first: if this is cut short, the coordinator knows neither, and the
        # same command makes another pair.
        with whole_file(folder / KEY) as path:
            write_private(path, private)
        with whole_file(folder / PUBLIC_KEY) as path:
            write_public(path, public)
    return fingerprint(public)
