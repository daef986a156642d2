"""What a site finds out before it joins: each thing that can be wrong is told by name."""

from __future__ import annotations

import shutil
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

import common.backbones.registry
from client.deployment.audit import AUDIT_FILE, AuditTrail
from client.deployment.checkup import Finding, check_site
from client.deployment.programs import KEY, SECRET
from client.deployment.settings import SiteFile
from common.backbones import Backbone, get_backbone
from common.backbones.weights import PackagedFile
from common.cohort import load_cohort
from common.split import split_groups
from common.trust import Authority, new_authority, server_certificate, write_private
from tests.client.deployed_site import MEMBERSHIP, site_file

FEDERATION = new_authority("north")
OTHERS = new_authority("south")


@pytest.fixture
def site(
    write_cached_cohort: Callable[..., Path],
    tiny_backbone: Backbone,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> SiteFile:
    """A site with all that it needs, which has not joined; its folder is ``tmp_path / "site"``."""
    real = get_backbone("efficientnet_lite0")
    monkeypatch.setattr(common.backbones.registry, "_BACKBONES", (real, tiny_backbone))
    for name in (KEY, SECRET):
        write_private(tmp_path / "site" / name, b"secret")
    root = write_cached_cohort({"dias": 12, "molemax": 30}, backbone=tiny_backbone)
    return site_file(root, membership=None)


def found(folder: Path, site: SiteFile) -> dict[str, Finding]:
    return {one.what: one for one in check_site(folder, site)}


def wrong(folder: Path, site: SiteFile) -> dict[str, str]:
    """What is wrong, with what is told of it: one line that a person can act on."""
    texts = {what: one.text for what, one in found(folder, site).items() if not one.right}
    assert all(text and "\n" not in text for text in texts.values())
    return texts


# The site's own


def test_a_site_that_has_all_is_told_so(site: SiteFile, tmp_path: Path) -> None:
    findings = found(tmp_path / "site", site)
    names = ["keys", "bounds", "cohort", "backbone tiny", "disk", "features", "audit trail"]
    assert list(findings) == [*names, "coordinator"]
    assert all(one.right for one in findings.values())
    text = findings["cohort"].text
    assert text.startswith("12 images, 7 classes: ")
    cohort = load_cohort(site.cohort)
    split = split_groups(1, cohort.group[cohort.site == site.site])
    for part in ("train", "validation", "test"):
        assert f"{int((split == part).sum())} for {part}" in text
    assert findings["audit trail"].text == "0 lines"
    assert "not joined" in findings["coordinator"].text


@pytest.mark.parametrize("name", [KEY, SECRET])
def test_a_key_that_is_missing_or_open_to_others_is_wrong(
    site: SiteFile, tmp_path: Path, name: str
) -> None:
    path = tmp_path / "site" / name
    for mode in (0o640, 0o604, 0o660):
        path.chmod(mode)
        (text,) = wrong(tmp_path / "site", site).values()
        assert text.startswith(f"{path}: others may read it")
    path.unlink()
    assert wrong(tmp_path / "site", site) == {"keys": f"{path}: No such file or directory"}


def test_a_mistyped_bound_is_wrong(site: SiteFile, tmp_path: Path) -> None:
    bounds = site.bounds.model_copy(update={"learners": ("ridge", "logistc")})
    told = wrong(tmp_path / "site", site.model_copy(update={"bounds": bounds}))
    assert list(told) == ["bounds"]
    assert "logistc" in told["bounds"]


def test_a_cohort_that_is_missing_or_not_the_sites_is_wrong(site: SiteFile, tmp_path: Path) -> None:
    missing = tmp_path / "nowhere"
    told = wrong(tmp_path / "site", site.model_copy(update={"cohort": missing}))
    # How much disk is needed depends on the images.
    assert list(told) == ["cohort", "disk"]
    assert str(missing) in told["cohort"]
    told = wrong(tmp_path / "site", site.model_copy(update={"site": "queensland"}))
    assert told == {"cohort": f"{site.cohort} has no image of site queensland"}


def test_an_image_that_is_missing_is_wrong(site: SiteFile, tmp_path: Path) -> None:
    (site.cohort / "images" / "dias-7.jpg").unlink()
    assert "dias-7" in wrong(tmp_path / "site", site)["cohort"]


def test_weights_that_cannot_be_read_are_wrong(
    site: SiteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tiny = common.backbones.registry._BACKBONES
    assert isinstance(real.weights, PackagedFile)
    gone = replace(real, weights=replace(real.weights, path="models/gone.pth"))
    monkeypatch.setattr(common.backbones.registry, "_BACKBONES", (gone, tiny))
    names = ("efficientnet_lite0", "tiny", "tiny+truncate:6")
    bounds = site.bounds.model_copy(update={"backbones": names})
    told = wrong(tmp_path / "site", site.model_copy(update={"bounds": bounds}))
    assert list(told) == ["backbone efficientnet_lite0", "backbone tiny+truncate:6"]
    assert "models/gone.pth: the weights file is missing" in told["backbone efficientnet_lite0"]


def test_a_disk_without_room_for_features_is_wrong(
    site: SiteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def usage(path: Path) -> SimpleNamespace:
        asked.append(path)
        return SimpleNamespace(free=400_000_000)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    there = tmp_path / "disk"
    there.mkdir()
    cache = there / "not" / "yet" / "made"
    told = wrong(tmp_path / "site", site.model_copy(update={"cache": cache}))
    assert told == {"disk": f"0.4 GB free in {there}, 0.5 GB are needed"}
    assert asked == [there]


def test_a_broken_trail_is_wrong_and_named_by_its_line(site: SiteFile, tmp_path: Path) -> None:
    path = tmp_path / "site" / AUDIT_FILE
    path.write_text("{}\n", encoding="utf-8")
    told = wrong(tmp_path / "site", site)
    assert told == {"audit trail": f"{path}: line 1 is no line of an audit trail"}
    path.unlink()
    AuditTrail(tmp_path / "site")
    assert wrong(tmp_path / "site", site) == {}


def test_code_that_was_installed_anew_since_the_site_joined_is_wrong(
    site: SiteFile, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    joined = MEMBERSHIP.model_copy(update={"address": address})
    told = wrong(tmp_path / "site", site.model_copy(update={"membership": joined}))
    # Nobody listens there.
    assert list(told) == ["coordinator"]
    other = joined.model_copy(update={"code": "1" * 64})
    told = wrong(tmp_path / "site", site.model_copy(update={"membership": other}))
    assert list(told) == ["code", "coordinator"]
    assert "ask it for a new invitation" in told["code"]


# The coordinator, behind a real TLS server


@contextmanager
def serving(
    folder: Path,
    *,
    date: str | None = None,
    authority: Authority = FEDERATION,
    days: int = 30,
    host: str = "127.0.0.1",
) -> Iterator[str]:
    """Answer one request at loopback; gives the address."""
    certificate, key = server_certificate(authority, ["coordinator.example"], days=days)
    for name, content in {"server.pem": certificate, "server.key": key}.items():
        (folder / name).write_bytes(content)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    line = "" if date is None else f"Date: {date}\r\n"
    head = f"HTTP/1.1 405 Method Not Allowed\r\nServer: nginx\r\n{line}\r\n".encode()

    def answer() -> None:
        # Who does not trust the certificate hangs up.
        with suppress(OSError):
            plain, _ = listener.accept()
            with plain, context.wrap_socket(plain, server_side=True) as secure:
                secure.recv(4096)
                secure.sendall(head)

    with socket.create_server((host, 0)) as listener:
        listener.settimeout(20)
        thread = threading.Thread(target=answer)
        thread.start()
        yield f"{host}:{listener.getsockname()[1]}"
        thread.join()


def ask(site: SiteFile, folder: Path, address: str, authority: bytes | None = None) -> Finding:
    text = (FEDERATION.certificate if authority is None else authority).decode()
    update = {"address": address, "authority": text}
    joined = site.model_copy(update={"membership": MEMBERSHIP.model_copy(update=update)})
    (folder / "site" / "authority.pem").write_text(text, encoding="utf-8")
    return found(folder / "site", joined)["coordinator"]


def now(seconds: float = 0) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


def test_another_certificate_beside_the_one_that_was_agreed_on_is_wrong(
    site: SiteFile, tmp_path: Path
) -> None:
    """The SuperNode reads the file."""
    path = tmp_path / "site" / "authority.pem"
    membership = MEMBERSHIP.model_copy(update={"authority": FEDERATION.certificate.decode()})
    joined = site.model_copy(update={"membership": membership})
    for content in (new_authority("other").certificate, None):
        path.unlink() if content is None else path.write_bytes(content)
        told = wrong(tmp_path / "site", joined)["coordinator"]
        assert told.startswith(f"{path}: is not the certificate of the invitation")


def test_features_that_others_may_read_are_wrong(site: SiteFile, tmp_path: Path) -> None:
    assert site.cache is not None
    site.cache.mkdir(exist_ok=True)
    site.cache.chmod(0o700)
    assert "features" not in wrong(tmp_path / "site", site)
    for mode in (0o750, 0o705):
        site.cache.chmod(mode)
        told = wrong(tmp_path / "site", site)["features"]
        assert told == f"{site.cache}: others may look into it; chmod -R go= {site.cache}"


def test_what_is_withheld_of_the_cohort_is_told(site: SiteFile, tmp_path: Path) -> None:
    bounds = site.bounds.model_copy(update={"minimum_count": 50, "learners": ("ridge",)})
    text = found(tmp_path / "site", site.model_copy(update={"bounds": bounds}))["cohort"].text
    assert "; withheld, as too few: " in text
    assert "BEWARE: 0 images to learn from are fewer than the 12 features" in text
    bounds = bounds.model_copy(update={"learners": ("ncm",)})
    text = found(tmp_path / "site", site.model_copy(update={"bounds": bounds}))["cohort"].text
    assert "BEWARE" not in text


def test_the_right_coordinator_is_right(site: SiteFile, tmp_path: Path) -> None:
    with serving(tmp_path, date=now()) as address:
        finding = ask(site, tmp_path, address)
    assert finding.right
    assert finding.text.startswith("certificate is right, 29 days left; clocks agree within ")


@pytest.mark.parametrize("seconds", [3600, -3600, 60])
def test_clocks_that_differ_are_wrong(site: SiteFile, tmp_path: Path, seconds: int) -> None:
    with serving(tmp_path, date=now(seconds)) as address:
        finding = ask(site, tmp_path, address)
    assert not finding.right
    differ = int(finding.text.split()[4])
    assert finding.text == f"the clocks differ by {differ} s; set this machine's by NTP"
    # A slow machine may take some seconds of it.
    assert abs(differ - abs(seconds)) < 30


@pytest.mark.parametrize("date", [None, "yesterday", "Tue, 15 Nov 99999 08:12:31 GMT"])
def test_a_server_that_tells_no_time_is_right_and_it_is_said(
    site: SiteFile, tmp_path: Path, date: str | None
) -> None:
    with serving(tmp_path, date=date) as address:
        finding = ask(site, tmp_path, address)
    assert finding.right
    assert finding.text.endswith("days left; the clock could not be compared")


def test_an_hour_without_a_time_zone_is_that_of_greenwich(site: SiteFile, tmp_path: Path) -> None:
    with serving(tmp_path, date=now().replace("GMT", "-0000")) as address:
        assert ask(site, tmp_path, address).right


def test_an_expired_certificate_is_wrong(site: SiteFile, tmp_path: Path) -> None:
    with serving(tmp_path, date=now(), days=0) as address:
        finding = ask(site, tmp_path, address)
    assert not finding.right
    assert finding.text == (
        f"certificate of {address}: certificate has expired; ask the coordinator"
    )


def test_another_federations_coordinator_is_wrong(site: SiteFile, tmp_path: Path) -> None:
    with serving(tmp_path, date=now(), authority=OTHERS) as address:
        finding = ask(site, tmp_path, address)
    assert not finding.right
    assert finding.text.startswith(f"certificate of {address}: ")
    assert "unable to get local issuer certificate" in finding.text


def test_a_certificate_for_another_host_is_wrong(site: SiteFile, tmp_path: Path) -> None:
    with serving(tmp_path, date=now(), host="127.0.0.2") as address:
        finding = ask(site, tmp_path, address)
    assert not finding.right
    assert "not valid for '127.0.0.2'" in finding.text


@pytest.mark.parametrize("authority", [b"", b"no certificate", "no certificaté".encode()])
def test_an_authority_that_is_no_certificate_trusts_nobody(
    site: SiteFile, tmp_path: Path, authority: bytes
) -> None:
    with serving(tmp_path, date=now()) as address:
        host, _, port = address.rpartition(":")
        finding = ask(site, tmp_path, address, authority)
        # The server waits for one connection, which may not have come.
        socket.create_connection((host, int(port)), 20).close()
    assert not finding.right


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "no..host", "h" * 70])
def test_a_coordinator_that_is_not_there_is_wrong_and_named(
    site: SiteFile, tmp_path: Path, host: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    finding = ask(site, tmp_path, f"{host}:{port}")
    assert not finding.right
    assert finding.text.startswith(f"{host}:{port}: ")
    assert finding.text.endswith("does the coordinator run, and may this machine connect to it?")
