"""A coordinator's folder: its certificates, its settings and the sites that it has invited."""

from __future__ import annotations

import ssl
import stat
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from common.deployment.invitation import Invitation
from common.errors import DeploymentError, TrustError
from common.trust import Authority, new_authority, new_site_key, server_certificate
from common.wire.bundle import folder_hashes
from server.deployment import setup
from server.deployment.registry import read_registry
from server.deployment.settings import CoordinatorFile
from server.deployment.setup import (
    invite_site,
    make_coordinator,
    prepare_start,
    remove_site,
    renew_certificate,
)

# Flower's own packing of a bundle.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")
HOST = "fed.example.org"
SETTINGS = CoordinatorFile(host=HOST)
PRIVATE = {"authority.key", "server.key", "superexec.secret"}
PUBLIC = {"authority.pem", "server.pem"}
HOSTILE = ["../x", "a/b", "/etc/x", "", ".", "..", ".hidden", "a b", "a\nb", "a\x1b[2J", "x" * 65]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "coordinator"
    make_coordinator(made, SETTINGS)
    return made


@pytest.fixture
def started(folder: Path) -> Path:
    """A coordinator that has been started once, so that its bundle is there."""
    prepare_start(folder, SETTINGS)
    return folder


class _Flower:
    """Stands for ``flwr``: notes what it is asked, and numbers nodes."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.problem: DeploymentError | None = None

    def __call__(self, folder: Path, *arguments: str) -> dict[str, Any]:
        self.asked.append(arguments)
        if self.problem is not None:
            raise self.problem
        return {"success": True, "node-id": str(2**63 + len(self.asked))}


@pytest.fixture
def flower(monkeypatch: pytest.MonkeyPatch) -> _Flower:
    stub = _Flower()
    monkeypatch.setattr(setup, "flwr", stub)
    return stub


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def _shake_hands(folder: Path, host: str) -> None:
    """Connect as a site's TLS does, in memory."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "server.pem", folder / "server.key")
    client = ssl.create_default_context(cafile=str(folder / "authority.pem"))
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(down, up, server_hostname=host)
    there = server.wrap_bio(up, down, server_side=True)
    for side in (here, there, here, there):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue


def test_private_files_are_their_owners_alone(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {*PRIVATE, *PUBLIC, "coordinator.toml"}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.iterdir():
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == 0o600 if path.name in PRIVATE else mode & 0o022 == 0, path.name
    assert len((folder / "superexec.secret").read_bytes()) == 32


def test_two_coordinators_share_no_key_and_no_secret(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    make_coordinator(other, SETTINGS)
    for name in PRIVATE | PUBLIC:
        assert (folder / name).read_bytes() != (other / name).read_bytes(), name


def test_a_second_coordinator_in_the_folder_is_refused_and_changes_nothing(folder: Path) -> None:
    before = _contents(folder)
    with pytest.raises(DeploymentError, match="is a coordinator's already"):
        make_coordinator(folder, CoordinatorFile(host="other.example.org"))
    assert _contents(folder) == before


@pytest.mark.parametrize("host", ["-", "a..", "-a.example.org"])
def test_a_host_that_is_no_name_is_refused_before_anything_is_written(
    tmp_path: Path, host: str
) -> None:
    with pytest.raises(TrustError, match="neither an address nor the name of a host"):
        make_coordinator(tmp_path / "coordinator", CoordinatorFile(host=host))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("host", [HOST, "localhost", "127.0.0.1"])
def test_tls_accepts_the_certificate_for_the_host_and_for_this_machine(
    folder: Path, host: str
) -> None:
    _shake_hands(folder, host)


@pytest.mark.parametrize("host", ["other.example.org", "example.org", f"x.{HOST}", "10.0.0.1"])
def test_tls_refuses_the_certificate_for_any_other_name(folder: Path, host: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        _shake_hands(folder, host)


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::7"])
def test_an_address_in_the_place_of_a_name_is_accepted(tmp_path: Path, host: str) -> None:
    make_coordinator(tmp_path / "c", CoordinatorFile(host=host))
    _shake_hands(tmp_path / "c", host)


def test_a_new_certificate_is_of_the_same_authority_and_the_old_one_is_kept(folder: Path) -> None:
    before = _contents(folder)
    renew_certificate(folder, SETTINGS)
    after = _contents(folder)
    for name in ("authority.pem", "authority.key", "superexec.secret", "coordinator.toml"):
        assert after[name] == before[name], name
    for name in ("server.pem", "server.key"):
        assert after[name] != before[name], name
        (kept,) = folder.glob(f"{name}.*")
        assert kept.read_bytes() == before[name]
    assert stat.S_IMODE((folder / "server.key").stat().st_mode) == 0o600
    _shake_hands(folder, HOST)


def test_an_authority_key_that_others_may_read_is_not_used(folder: Path) -> None:
    (folder / "authority.key").chmod(0o644)
    before = _contents(folder)
    with pytest.raises(TrustError, match="others may read it"):
        renew_certificate(folder, SETTINGS)
    assert _contents(folder) == before


def test_what_a_start_needs_is_written_and_the_days_are_told(folder: Path) -> None:
    days = prepare_start(folder, SETTINGS)
    end = x509.load_pem_x509_certificate((folder / "server.pem").read_bytes()).not_valid_after_utc
    assert days == (end - datetime.now(UTC)) // timedelta(days=1)
    assert days > 365
    found = tomllib.loads((folder / "flower" / "config.toml").read_text(encoding="utf-8"))
    assert found["superlink"]["default"] == "dermafed"
    assert found["superlink"]["dermafed"] == {
        "address": "127.0.0.1:8444",
        "root-certificates": str(folder / "authority.pem"),
    }
    assert (folder / "bundle" / "pyproject.toml").is_file()


def test_a_start_is_refused_where_sites_would_refuse_the_certificate(folder: Path) -> None:
    with pytest.raises(TrustError, match="is not for this host"):
        prepare_start(folder, CoordinatorFile(host="moved.example.org"))
    authority = Authority(
        (folder / "authority.pem").read_bytes(), (folder / "authority.key").read_bytes()
    )
    (folder / "server.pem").write_bytes(server_certificate(authority, (HOST,), days=0)[0])
    with pytest.raises(TrustError, match="valid from"):
        prepare_start(folder, SETTINGS)
    (folder / "server.pem").write_bytes(server_certificate(new_authority("x"), (HOST,))[0])
    with pytest.raises(TrustError, match="not signed by this federation"):
        prepare_start(folder, SETTINGS)


def test_an_invitation_tells_where_whom_and_what_to_trust(started: Path, flower: _Flower) -> None:
    _, public = new_site_key("ward 3")
    found = invite_site(started, SETTINGS, "our-clinic", public)
    line = " ".join(public.decode().split()[:2])
    assert found == Invitation(
        federation="dermafed",
        site="our-clinic",
        key=line,
        address=f"{HOST}:8443",
        authority=(started / "authority.pem").read_text(encoding="utf-8"),
        bundle=folder_hashes(started / "bundle")[0],
        code=folder_hashes(started / "bundle")[1],
        version=found.version,
    )
    assert "PRIVATE" not in found.model_dump_json()
    path = started / "our-clinic.pub"
    # The comment, which may hold anything, goes no further.
    assert path.read_bytes() == f"{line}\n".encode()
    assert flower.asked == [("supernode", "register", str(path), "--name", "our-clinic")]
    (member,) = read_registry(started / "sites.json")
    assert (member.site, member.node_id, member.key) == ("our-clinic", 2**63 + 1, line)


def test_nobody_is_invited_before_there_is_a_bundle_to_pin(folder: Path, flower: _Flower) -> None:
    with pytest.raises(DeploymentError, match="has not been started yet"):
        invite_site(folder, SETTINGS, "dias", new_site_key()[1])
    assert flower.asked == []
    assert not (folder / "sites.json").exists()


def test_the_same_key_twice_is_registered_once(started: Path, flower: _Flower) -> None:
    _, public = new_site_key("dias")
    first = invite_site(started, SETTINGS, "dias", public)
    before = _contents(started)
    again = public.replace(b" dias", b" second key")
    assert again != public
    assert invite_site(started, SETTINGS, "dias", again) == first
    assert len(flower.asked) == 1
    assert _contents(started) == before


def test_a_name_has_one_key_and_a_key_one_name(started: Path, flower: _Flower) -> None:
    _, public = new_site_key()
    invite_site(started, SETTINGS, "dias", public)
    before = _contents(started)
    with pytest.raises(DeploymentError, match="site dias: invited with another key; remove it"):
        invite_site(started, SETTINGS, "dias", new_site_key()[1])
    with pytest.raises(DeploymentError, match="site modern: its key is that of site dias"):
        invite_site(started, SETTINGS, "modern", public)
    assert len(flower.asked) == 1
    assert _contents(started) == before


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_refused_before_any_file_is_written(
    tmp_path: Path, started: Path, flower: _Flower, name: str
) -> None:
    before = _contents(tmp_path)
    with pytest.raises(DeploymentError, match="give a name of letters, digits"):
        invite_site(started, SETTINGS, name, new_site_key()[1])
    assert (_contents(tmp_path), flower.asked) == (before, [])


@pytest.mark.parametrize("key", [b"", b"ssh-rsa AAAA", b"\xff", new_site_key()[0]])
def test_what_is_no_public_key_is_refused(started: Path, flower: _Flower, key: bytes) -> None:
    with pytest.raises(TrustError):
        invite_site(started, SETTINGS, "dias", key)
    assert flower.asked == []


def test_a_site_that_flower_refuses_is_not_in_the_registry(started: Path, flower: _Flower) -> None:
    flower.problem = DeploymentError("flwr supernode register: no answer")
    with pytest.raises(DeploymentError, match="no answer"):
        invite_site(started, SETTINGS, "dias", new_site_key()[1])
    assert read_registry(started / "sites.json") == ()


def test_a_removed_site_is_gone_from_both_and_may_be_invited_anew(
    started: Path, flower: _Flower
) -> None:
    for name in ("dias", "modern"):
        invite_site(started, SETTINGS, name, new_site_key()[1])
    remove_site(started, "dias")
    assert flower.asked[-1] == ("supernode", "unregister", str(2**63 + 1))
    assert [member.site for member in read_registry(started / "sites.json")] == ["modern"]
    with pytest.raises(DeploymentError, match="site dias: not invited; invited: modern"):
        remove_site(started, "dias")
    invite_site(started, SETTINGS, "dias", new_site_key()[1])
    flower.problem = DeploymentError("flwr supernode unregister: no answer")
    with pytest.raises(DeploymentError, match="no answer"):
        remove_site(started, "modern")
    # Who still has access is still in the list.
    assert [member.site for member in read_registry(started / "sites.json")] == ["dias", "modern"]


@pytest.mark.parametrize("name", sorted(PRIVATE))
def test_a_coordinator_whose_private_files_others_may_read_does_not_start(
    folder: Path, name: str
) -> None:
    (folder / name).chmod(0o640)
    with pytest.raises(TrustError, match=f"{name}: others may read it"):
        prepare_start(folder, SETTINGS)


def test_a_coordinator_starts_without_its_authoritys_key(folder: Path) -> None:
    (folder / "authority.key").unlink()
    assert prepare_start(folder, SETTINGS) > 300
