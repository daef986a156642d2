"""Making a coordinator's folder: authority, certificate, secret, settings, bundle."""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from common.deployment.invitation import Invitation
from common.errors import DeploymentError, TrustError
from common.interruption import held_back
from common.trust import (
    Authority,
    check_certificate,
    comment_of,
    fingerprint,
    new_authority,
    read_public_key,
    server_certificate,
    write_private,
    write_public,
)
from common.trust.files import read_private
from common.versions import package_versions
from server.deployment.flower import flwr
from server.deployment.programs import (
    AUTHORITY,
    AUTHORITY_KEY,
    BUNDLE,
    CERTIFICATE,
    CERTIFICATE_KEY,
    SECRET,
    write_connection,
)
from server.deployment.registry import (
    NAME,
    REGISTRY_FILE,
    Member,
    read_registry,
    write_registry,
)
from server.deployment.settings import (
    COORDINATOR_FILE,
    CoordinatorFile,
    write_coordinator_file,
)

# What Flower says of a key that it has registered before: it keeps those that were removed.
_KNOWN = "Public key already in use"


def make_coordinator(folder: Path, settings: CoordinatorFile) -> None:
    """Make a coordinator's folder.

    Parameters
    ----------
    folder : Path
        Absolute.
    settings : CoordinatorFile
        What to write there.

    Raises
    ------
    DeploymentError
        If there is one already.
    TrustError
        If the host is no name or address.
    """
    if (folder / COORDINATOR_FILE).exists():
        raise DeploymentError(f"{folder}: is a coordinator's already; choose another --folder")
    authority = new_authority(settings.federation)
    certificate, key = server_certificate(authority, (settings.host,))
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    write_private(folder / AUTHORITY_KEY, authority.key)
    write_public(folder / AUTHORITY, authority.certificate)
    write_private(folder / CERTIFICATE_KEY, key)
    write_public(folder / CERTIFICATE, certificate)
    write_private(folder / SECRET, secrets.token_bytes(32))
    write_coordinator_file(folder, settings)


def prepare_start(folder: Path, settings: CoordinatorFile) -> int:
    """Write what follows from settings and code, and check the certificate.

    Returns
    -------
    int
        Days that the certificate is still valid.

    Raises
    ------
    TrustError
        If it is not valid for the host now.
    """
    for name in (CERTIFICATE_KEY, SECRET, AUTHORITY_KEY):
        # The authority's key may be on other media.
        if name != AUTHORITY_KEY or (folder / name).exists():
            read_private(folder / name)
    days = check_certificate(
        (folder / CERTIFICATE).read_bytes(), (folder / AUTHORITY).read_bytes(), settings.host
    )
    write_connection(folder, settings)
    # Here, so that asking for help imports no Flower.
    from common.wire.bundle import write_bundle_folder

    write_bundle_folder(folder / BUNDLE)
    return days


def renew_certificate(folder: Path, settings: CoordinatorFile) -> None:
    """Make a new server certificate with the same authority; sites need not do anything.

    Raises
    ------
    TrustError
        If the authority's key is not there, open to others, or that of another authority.
    """
    path = folder / AUTHORITY_KEY
    if not path.exists():
        raise TrustError(f"{path}: a new certificate needs it; put it back for this command")
    authority = Authority((folder / AUTHORITY).read_bytes(), read_private(path))
    certificate, key = server_certificate(authority, (settings.host,))
    # Before the one that is in use is put aside.
    check_certificate(certificate, authority.certificate, settings.host)
    stamp = f"{datetime.now(UTC):%Y%m%d%H%M%S}"
    for name in (CERTIFICATE, CERTIFICATE_KEY):
        (folder / name).rename(folder / f"{name}.{stamp}")
    write_private(folder / CERTIFICATE_KEY, key)
    write_public(folder / CERTIFICATE, certificate)


def invite_site(folder: Path, settings: CoordinatorFile, site: str, key: bytes) -> Invitation:
    """Register a site's key, and give its invitation.

    Parameters
    ----------
    folder : Path
        Of the coordinator, which must be running.
    settings : CoordinatorFile
        Its settings.
    site : str
        The site's name.
    key : bytes
        Its public key, a line of OpenSSH.

    Raises
    ------
    DeploymentError
        If another site has the name or the key, the key was removed before, or the coordinator
        has not been started yet.
    TrustError
        If it is no key, or its comment names another site.
    """
    public = read_public_key(key)
    text = public.decode().strip()
    _check_comment(site, comment_of(key))
    if not (folder / BUNDLE).is_dir():
        raise DeploymentError(f"{folder}: has not been started yet: dermafed coordinator start")
    from common.wire.bundle import folder_hashes

    # Of the bundle that runs will send, which an installation that is newer than the last start
    # has not written yet.
    bundle, code = folder_hashes(folder / BUNDLE)
    members = read_registry(folder / REGISTRY_FILE)
    for member in members:
        if member.site == site and member.key != text:
            raise DeploymentError(
                f"site {site}: invited with another key; remove it first: "
                f"dermafed coordinator remove {site}"
            )
        if member.key == text and member.site != site:
            raise DeploymentError(f"site {site}: its key is that of site {member.site}")
    if all(member.site != site for member in members):
        _check_name(site)
        path = folder / f"{site}.pub"
        path.write_bytes(public)
        # Between the two, Flower would know a key that nobody here has invited.
        with held_back():
            member = Member(site=site, node_id=_register(folder, site, path), key=text)
            write_registry(folder / REGISTRY_FILE, (*members, member))
    return Invitation(
        federation=settings.federation,
        site=site,
        key=text,
        address=settings.address,
        authority=(folder / AUTHORITY).read_text(encoding="utf-8"),
        bundle=bundle,
        code=code,
        version=package_versions()["dermafed"],
    )


def _register(folder: Path, site: str, path: Path) -> int:
    """Have Flower make a node of a key, and give its number."""
    try:
        return int(flwr(folder, "supernode", "register", str(path), "--name", site)["node-id"])
    except DeploymentError as error:
        if _KNOWN not in str(error):
            raise
        raise DeploymentError(
            f"site {site}: this key ({fingerprint(path.read_bytes())}) was removed from the "
            "federation, and a removed key is never taken again; the site makes a new one with "
            "dermafed site new-key, and sends that"
        ) from error


def remove_site(folder: Path, site: str) -> None:
    """Take a site's key out of the federation, for good: Flower takes none twice.

    Raises
    ------
    DeploymentError
        If it was not invited.
    """
    members = read_registry(folder / REGISTRY_FILE)
    gone = [member for member in members if member.site == site]
    if not gone:
        known = ", ".join(member.site for member in members) or "none"
        raise DeploymentError(f"site {site}: not invited; invited: {known}")
    flwr(folder, "supernode", "unregister", str(gone[0].node_id))
    write_registry(
        folder / REGISTRY_FILE, tuple(member for member in members if member.site != site)
    )


def _check_comment(site: str, comment: str) -> None:
    """Refuse the key of another site; what is no name of a site names none."""
    if comment != site and re.fullmatch(NAME, comment):
        raise TrustError(
            f"site {site}: the key is that of site {comment}, as its comment says; give the "
            f"site.pub of {site}, or invite {comment}"
        )


def _check_name(site: str) -> None:
    try:
        Member(site=site, node_id=0, key="")
    except ValidationError as error:
        raise DeploymentError(
            f"site {site!r}: give a name of letters, digits, dots, dashes and underscores"
        ) from error
