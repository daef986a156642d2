"""What a site checks before it joins: its images, disk, network, the coordinator, the clock."""

from __future__ import annotations

import shutil
import socket
import ssl
import stat
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np

from client.deployment.audit import AUDIT_FILE, read_trail
from client.deployment.bounds import refuse_unknown
from client.deployment.membership import OTHER_CODE
from client.deployment.programs import AUTHORITY, KEY, SECRET
from client.deployment.settings import Membership, SiteFile
from client.learning_rows import disclosed
from common.backbones import get_backbone
from common.cohort import load_cohort
from common.deployment.proxies import proxy_of
from common.disclosure import Disclosure
from common.errors import DeploymentError, DermafedError, SettingsError, TrustError
from common.feature_cache import default_cache
from common.split import Split, split_groups
from common.trust import check_certificate
from common.trust.files import read_private

_TIMEOUT = 10.0
# Flower refuses a signature from a clock that is further ahead of its own.
_CLOCK_SECONDS = 5.0
_BYTES_PER_IMAGE = 12_000
_SPARE_BYTES = 500_000_000


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes
    ----------
    what : str
        What was checked.
    right : bool
        Whether the site can take part.
    text : str
        What was found, and what to do where it is not right.
    """

    what: str
    right: bool
    text: str


def check_site(folder: Path, site: SiteFile) -> Iterator[Finding]:
    """Check everything that a site needs, one after the other.

    Parameters
    ----------
    folder : Path
        Of the site.
    site : SiteFile
        Its settings.
    """
    yield _finding("keys", lambda: _keys(folder))
    yield _finding("bounds", lambda: _bounds(site))
    yield _finding("cohort", lambda: _cohort(site))
    for name in site.bounds.backbones:
        yield _finding(f"backbone {name}", partial(_backbone, name))
    yield _finding("disk", lambda: _disk(site))
    yield _finding("features", lambda: _features(site.cache or default_cache()))
    yield _finding("audit trail", lambda: f"{len(list(read_trail(folder / AUDIT_FILE)))} lines")
    if site.membership is None:
        yield Finding("coordinator", right=True, text="none yet: not joined")
        return
    membership = site.membership
    yield _finding("code", lambda: _code(membership.code))
    yield check_coordinator(folder, membership)


def check_coordinator(folder: Path, membership: Membership) -> Finding:
    """Check the way to the coordinator, its certificate and its clock.

    Parameters
    ----------
    folder : Path
        Of the site.
    membership : Membership
        Whom it has joined.
    """
    return _finding("coordinator", lambda: _joined(folder / AUTHORITY, membership))


def _joined(path: Path, membership: Membership) -> str:
    # The SuperNode reads the file; what was agreed on stands in site.toml.
    if not path.is_file() or path.read_bytes() != membership.authority.encode():
        raise TrustError(
            f"{path}: is not the certificate of the invitation; dermafed site join puts it back"
        )
    return _coordinator(membership.address, membership.authority)


def _finding(what: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(what, right=True, text=check())
    except (DermafedError, OSError) as error:
        return Finding(what, right=False, text=str(error))


def _keys(folder: Path) -> str:
    for name in (KEY, SECRET):
        read_private(folder / name)
    return "private, and there"


def _bounds(site: SiteFile) -> str:
    refuse_unknown(site.bounds)
    return f"{len(site.bounds.learners)} learners, minimum count {site.bounds.minimum_count}"


def _cohort(site: SiteFile) -> str:
    table = load_cohort(site.cohort)
    held = (table.site == site.site) if table.sites_known else None
    rows = np.arange(len(table)) if held is None else np.flatnonzero(held)
    if not len(rows):
        raise OSError(f"{site.cohort} has no image of site {site.site}")
    split = split_groups(site.bounds.split_seed, table.group[rows])
    kept = disclosed(Disclosure(site.bounds.minimum_count), table.y[rows], split, None)
    counts = ", ".join(f"{int((split == part.value).sum())} for {part.value}" for part in Split)
    names = [table.classes[label] for label in table.y[rows[~kept]]]
    cells = dict.fromkeys(f"{a}:{b}" for a, b in zip(split[~kept], names, strict=True))
    told = f"; withheld, as too few: {', '.join(sorted(cells))}" if cells else ""
    beware = _fewer_than_features(site, int((kept & (split == Split.TRAIN.value)).sum()))
    return f"{len(rows)} images, {len(table.classes)} classes: {counts}{told}{beware}"


def _fewer_than_features(site: SiteFile, images: int) -> str:
    """Warn of sums of products that can be taken apart, where a learner sends such."""
    widest = 0
    for name in site.bounds.backbones:
        # One that there is not has a line of its own.
        with suppress(SettingsError):
            widest = max(widest, get_backbone(name).dimension)
    if images >= widest or set(site.bounds.learners) <= {"ncm"}:
        return ""
    return (
        f"; BEWARE: {images} images to learn from are fewer than the {widest} features, so sums of "
        "products give the features away up to a rotation; deploy/security.md tells more"
    )


def _backbone(name: str) -> str:
    backbone = get_backbone(name)
    # Reads the weights and compares their hash; a fingerprint alone is of what they should be.
    backbone.load_network()
    return f"weights are there, and the published ones (fingerprint {backbone.fingerprint[:12]})"


def _disk(site: SiteFile) -> str:
    folder = site.cache or default_cache()
    while not folder.exists():
        folder = folder.parent
    free, needed = shutil.disk_usage(folder).free, _SPARE_BYTES
    needed += _BYTES_PER_IMAGE * len(load_cohort(site.cohort))
    if free < needed:
        raise OSError(f"{free / 1e9:.1f} GB free in {folder}, {needed / 1e9:.1f} GB are needed")
    return f"{free / 1e9:.0f} GB free for features"


def _features(folder: Path) -> str:
    """Look whether others than the owner may read what was computed of images."""
    if not folder.exists():
        return "none yet"
    if folder.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise TrustError(f"{folder}: others may look into it; chmod -R go= {folder}")
    return f"in {folder}, for its owner alone"


def _code(joined: str) -> str:
    # Here, so that asking for help imports no Flower.
    from common.wire.bundle import code_hash

    if code_hash() != joined:
        raise TrustError(f"other than the invitation's; {OTHER_CODE}")
    return "is the coordinator's"


def _coordinator(address: str, authority: str) -> str:
    """Connect as the SuperNode will, and compare clocks."""
    try:
        days, head = _greet(address, authority)
    except ssl.SSLCertVerificationError as error:
        raise TrustError(
            f"certificate of {address}: {error.verify_message}; ask the coordinator"
        ) from error
    # A host's name that no resolver takes is a UnicodeError.
    except (OSError, UnicodeError) as error:
        raise DeploymentError(
            f"{address}: {error}; does the coordinator run, and may this machine connect to it?"
        ) from error
    right, time = f"certificate is right, {days} days left", _date(head)
    if time is None:
        return f"{right}; the clock could not be compared"
    off = abs((time - datetime.now(UTC)).total_seconds())
    # A date has whole seconds.
    if off > _CLOCK_SECONDS + 1:
        raise DeploymentError(f"the clocks differ by {off:.0f} s; set this machine's by NTP")
    return f"{right}; clocks agree within {max(off, 1):.0f} s"


def _greet(address: str, authority: str) -> tuple[int, str]:
    """Give the days that the certificate is still valid, and the head of an answer."""
    name, _, port = address.rpartition(":")
    host = name.strip("[]")
    if not authority.isascii():
        raise TrustError("authority: no certificate; run dermafed site join INVITATION again")
    context = ssl.create_default_context(cadata=authority)
    with (
        _way_to(host, int(port)) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        certificate = secure.getpeercert(binary_form=True) or b""
        days = check_certificate(certificate, authority.encode(), host)
        secure.sendall(f"HEAD / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        return days, secure.recv(4096).decode("latin-1")


def _way_to(host: str, port: int) -> socket.socket:
    """Connect as Flower does: through the proxy that the environment names, where it names one."""
    proxy = proxy_of(host)
    if proxy is None:
        return socket.create_connection((host, port), _TIMEOUT)
    found = urlsplit(proxy)
    tunnel = HTTPConnection(found.hostname or "", found.port or 80, timeout=_TIMEOUT)
    login = {}
    if found.username:
        told = f"{unquote(found.username)}:{unquote(found.password or '')}"
        login["Proxy-Authorization"] = f"Basic {b64encode(told.encode()).decode()}"
    tunnel.set_tunnel(host, port, login)
    try:
        tunnel.connect()
    except (OSError, HTTPException) as error:
        where = f"{found.hostname}:{found.port or 80}"
        raise OSError(f"through the proxy {where} of HTTPS_PROXY: {error}") from error
    return tunnel.sock


def _date(head: str) -> datetime | None:
    """Read the time of an answer; none where it tells none, or in no known way."""
    for line in head.splitlines():
        if line.lower().startswith("date:"):
            try:
                time = parsedate_to_datetime(line[5:].strip())
            except ValueError:
                return None
            return time if time.tzinfo else time.replace(tzinfo=UTC)
    return None
