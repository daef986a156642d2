"""Joining and leaving: what a site checks of an invitation before it trusts anybody."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from client.deployment.programs import AUTHORITY, KEY, PUBLIC_KEY, SECRET
from client.deployment.settings import SITE_FILE, Membership, SiteFile, write_site_file
from common.deployment.invitation import read_invitation
from common.errors import TrustError
from common.trust import certificate_fingerprint, read_public_key
from common.trust.files import read_private
from common.versions import package_versions
from common.whole_file import whole_file

OTHER_CODE = "install the coordinator's release, or ask it for a new invitation and join with that"


def accept(folder: Path, site: SiteFile, invitation: Path) -> SiteFile:
    """Take an invitation into the site's settings.

    Parameters
    ----------
    folder : Path
        Of the site.
    site : SiteFile
        Its settings.
    invitation : Path
        The file.

    Returns
    -------
    SiteFile
        The settings, as they are now on disk.

    Raises
    ------
    TrustError
        If it is for another site or key, the coordinator's code is not the site's, or it names
        no coordinator.
    """
    found = read_invitation(invitation)
    if found.site != site.site:
        raise TrustError(
            f"{invitation}: is for site {found.site}, this is {site.site}; ask the coordinator "
            "for this site's"
        )
    if read_public_key(found.key.encode()) != _own_key(folder):
        raise TrustError(
            f"{invitation}: is for another key than {folder / PUBLIC_KEY}; send that file again"
        )
    # Here, so that asking for help imports no Flower.
    from common.wire.bundle import code_hash

    if found.code != code_hash():
        raise TrustError(
            f"{invitation}: the coordinator has other code (dermafed {found.version}) than this "
            f"site ({package_versions()['dermafed']}); install the same release"
        )
    if site.membership is not None and site.membership.authority != found.authority:
        raise TrustError(f"{folder}: has joined another federation; run dermafed site leave before")
    try:
        membership = Membership(
            address=found.address,
            authority=found.authority,
            bundle=found.bundle,
            code=found.code,
        )
    except ValidationError as error:
        wrong = ", ".join(str(one["loc"][0]) for one in error.errors())
        raise TrustError(
            f"{invitation}: {wrong} is wrong; ask the coordinator for it anew"
        ) from error
    # Refuses what is no certificate.
    certificate_fingerprint(found.authority)
    joined = site.model_copy(update={"membership": membership})
    with whole_file(folder / AUTHORITY) as path:
        path.write_text(found.authority, encoding="utf-8")
    write_site_file(folder, joined)
    return joined


def _own_key(folder: Path) -> bytes:
    path = folder / PUBLIC_KEY
    try:
        return read_public_key(path.read_bytes())
    except OSError as error:
        raise TrustError(
            f"{path}: {error.strerror}; put back the file that dermafed site init made"
        ) from error


def restore_trust(folder: Path, site: SiteFile) -> None:
    """Refuse keys that others may read, and write the authority that was agreed on.

    Raises
    ------
    TrustError
        If a private file is missing or open to others.
    """
    for name in (KEY, SECRET, *([SITE_FILE] if site.resample_key else [])):
        read_private(folder / name)
    if site.membership is not None:
        with whole_file(folder / AUTHORITY) as path:
            path.write_text(site.membership.authority, encoding="utf-8")


def forget(folder: Path, site: SiteFile) -> None:
    """Take the federation out of the site's settings; the key and the trail stay."""
    write_site_file(folder, site.model_copy(update={"membership": None}))
    (folder / AUTHORITY).unlink(missing_ok=True)
