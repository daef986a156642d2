"""The authority's key may be kept elsewhere: what needs it, and what a wrong one does."""

from __future__ import annotations

from pathlib import Path

import pytest

from common.errors import TrustError
from common.trust import check_certificate, new_authority, new_site_key, write_private
from server.deployment import setup
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
SETTINGS = CoordinatorFile(host="fed.example.org")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "coordinator"
    make_coordinator(made, SETTINGS)
    return made


def _certificates(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("server.*")}


def test_starting_inviting_and_removing_need_no_authority_key(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "flwr", lambda *_: {"success": True, "node-id": "7"})
    (folder / "authority.key").unlink()
    assert prepare_start(folder, SETTINGS) > 365
    invite_site(folder, SETTINGS, "dias", new_site_key("dias")[1])
    remove_site(folder, "dias")


def test_a_new_certificate_needs_it_for_that_command_only(folder: Path) -> None:
    key, before = folder / "authority.key", _certificates(folder)
    own = key.read_bytes()
    key.unlink()
    with pytest.raises(
        TrustError, match=r"authority\.key: a new certificate needs it; put it back"
    ):
        renew_certificate(folder, SETTINGS)
    assert _certificates(folder) == before
    write_private(key, own)
    renew_certificate(folder, SETTINGS)
    key.unlink()
    made = _certificates(folder)
    assert made["server.pem"] != before["server.pem"]
    check_certificate(made["server.pem"], (folder / "authority.pem").read_bytes(), SETTINGS.host)


def test_the_key_of_another_authority_puts_no_certificate_aside(folder: Path) -> None:
    before = _certificates(folder)
    (folder / "authority.key").unlink()
    write_private(folder / "authority.key", new_authority("other").key)
    with pytest.raises(TrustError, match="not signed by this federation"):
        renew_certificate(folder, SETTINGS)
    assert _certificates(folder) == before
