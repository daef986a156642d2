"""What a site checks before it joins: its images, disk, network, the coordinator, the clock."""

from __future__ import annotations

import shutil
import socket
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import unquote, urlsplit

from client.deployment.audit import AUDIT_FILE, read_trail
from client.deployment.bounds import refuse_unknown
from client.deployment.membership import OTHER_CODE
from client.deployment.programs import KEY, SECRET
from client.deployment.settings import SiteFile
from common.backbones import get_backbone
from common.cohort import load_cohort
from common.deployment.proxies import proxy_of
from common.errors import DeploymentError, DermafedError, TrustError
from common.feature_cache import default_cache
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
    yield _finding("audit trail", lambda: f"{len(list(read_trail(folder / AUDIT_FILE)))} lines")
    if site.membership is None:
        yield Finding("coordinator", right=True, text="none yet: not joined")
        return
    code = site.membership.code
    yield _finding("code", lambda: _code(code))
    address, authority = site.membership.address, site.membership.authority
    yield _finding("coordinator", lambda: _coordinator(address, authority))


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
    images = len(table) if held is None else int(held.sum())
    if not images:
        raise OSError(f"{site.cohort} has no image of site {site.site}")
    return f"{images} images, {len(table.classes)} classes"


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
