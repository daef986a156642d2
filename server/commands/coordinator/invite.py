"""``dermafed coordinator invite`` and ``remove``: which keys may take part."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.console import messages, say
from common.deployment.invitation import ENDING, write_invitation
from common.errors import TrustError
from common.trust import certificate_fingerprint, fingerprint, read_public_key
from server.commands.coordinator.folder import DEFAULT, CoordinatorFolder
from server.deployment.settings import read_coordinator_file
from server.deployment.setup import invite_site, remove_site


def invite(
    site: Annotated[str, typer.Argument(help="The site's name.")],
    key: Annotated[Path, typer.Option(help="Its public key: the site.pub that it has sent.")],
    folder: CoordinatorFolder = DEFAULT,
    out: Annotated[Path | None, typer.Option(help="File to write.")] = None,
) -> None:
    """Register a site's public key and write its invitation, which holds no secret.

    Compare the fingerprint with the site by another way than the key came by, such as the
    telephone: the invitation is for whoever has the key's private half.

    Example:

      dermafed coordinator invite our-clinic --key our-clinic.pub
    """
    folder = folder.absolute()
    settings = read_coordinator_file(folder)
    try:
        line = key.read_bytes()
    except OSError as error:
        raise TrustError(f"{key}: {error.strerror}") from error
    invitation = invite_site(folder, settings, site, line)
    path = out or Path(f"{site}{ENDING}")
    write_invitation(path, invitation)
    told = fingerprint(read_public_key(line))
    say(messages(), f"{site}: the key's fingerprint, to compare on the telephone: {told}")
    told = certificate_fingerprint(invitation.authority)
    say(messages(), f"the authority's, which the site compares when it joins: {told}")
    say(messages(), f"{path}: send it to the site, which runs dermafed site join {path.name}")


def remove(
    site: Annotated[str, typer.Argument(help="The site's name.")],
    folder: CoordinatorFolder = DEFAULT,
) -> None:
    """Take a site's key out; from then on it is refused, and never taken again.

    A site that comes back, or has lost its key, makes a new one with dermafed site new-key.

    Example:

      dermafed coordinator remove our-clinic
    """
    remove_site(folder.absolute(), site)
    say(
        messages(),
        f"{site}: removed; this key is never taken again. To come back, the site makes a new one "
        "with dermafed site new-key",
    )
