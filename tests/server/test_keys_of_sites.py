"""Keys at the coordinator: whose they are, how people compare them, and that none comes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flwr.supercore.error.base import ApiErrorCode
from flwr.supercore.error.catalog import API_ERROR_MAP
from typer.testing import CliRunner

from common.cli import app
from common.errors import DeploymentError, TrustError
from common.trust import fingerprint, new_site_key
from server.deployment import overview, setup
from server.deployment.control import NodeSeen, Seen
from server.deployment.registry import read_registry
from server.deployment.settings import CoordinatorFile
from server.deployment.setup import invite_site, make_coordinator, prepare_start

# Flower's own packing of a bundle.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")
SETTINGS = CoordinatorFile(host="fed.example.org")


class _Flower:
    """Stands for ``flwr``, which keeps the keys that were removed."""

    def __init__(self) -> None:
        self.known: list[bytes] = []

    def __call__(self, folder: Path, *arguments: str) -> dict[str, Any]:
        if arguments[:2] == ("supernode", "register"):
            key = Path(arguments[2]).read_bytes()
            if key in self.known:
                # Word for word what Flower answers.
                raise DeploymentError(
                    "flwr supernode register: Using SuperLink: dermafed (127.0.0.1:8444) "
                    "[code: 23] Public key already in use."
                )
            self.known.append(key)
        return {"success": True, "node-id": str(len(self.known))}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "coordinator"
    make_coordinator(made, SETTINGS)
    prepare_start(made, SETTINGS)
    monkeypatch.setattr(setup, "flwr", _Flower())
    return made


def _coordinator(folder: Path, *arguments: str) -> tuple[str, str]:
    """Run the command; gives standard output and standard error."""
    done = CliRunner().invoke(
        app, ["coordinator", *arguments, "--folder", str(folder)], catch_exceptions=False
    )
    assert done.exit_code == 0
    return done.stdout, done.stderr


def test_a_removed_key_is_refused_with_the_sites_way_back_and_a_new_one_is_taken(
    folder: Path, tmp_path: Path
) -> None:
    _, public = new_site_key("dias")
    (tmp_path / "site.pub").write_bytes(public)
    out = str(tmp_path / "dias.invitation.toml")
    invite = ("invite", "dias", "--key", str(tmp_path / "site.pub"), "--out", out)
    _coordinator(folder, *invite)
    _, told = _coordinator(folder, "remove", "dias")
    assert "never taken again" in told
    assert "dermafed site new-key" in told
    with pytest.raises(DeploymentError, match="was removed from the federation") as refused:
        _coordinator(folder, *invite)
    assert f"site dias: this key ({fingerprint(public)})" in str(refused.value)
    assert "dermafed site new-key" in str(refused.value)
    assert read_registry(folder / "sites.json") == ()
    (tmp_path / "site.pub").write_bytes(new_site_key("dias")[1])
    _coordinator(folder, *invite)
    (member,) = read_registry(folder / "sites.json")
    assert (member.site, member.node_id) == ("dias", 2)


def test_flower_says_of_a_known_key_what_it_is_recognised_by() -> None:
    told = API_ERROR_MAP[ApiErrorCode.PUBLIC_KEY_ALREADY_IN_USE].public_message
    assert setup._KNOWN in told


def test_another_refusal_of_flowers_is_not_called_a_removed_key(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object) -> dict[str, Any]:
        raise DeploymentError("flwr supernode register: no answer")

    monkeypatch.setattr(setup, "flwr", refuses)
    with pytest.raises(DeploymentError, match="^flwr supernode register: no answer$"):
        invite_site(folder, SETTINGS, "dias", new_site_key("dias")[1])


def test_the_key_of_another_site_is_refused_before_it_is_registered(folder: Path) -> None:
    _, public = new_site_key("modern")
    with pytest.raises(TrustError, match=r"site dias: the key is that of site modern") as refused:
        invite_site(folder, SETTINGS, "dias", public)
    assert "give the site.pub of dias, or invite modern" in str(refused.value)
    assert read_registry(folder / "sites.json") == ()
    assert not (folder / "dias.pub").exists()
    invite_site(folder, SETTINGS, "modern", public)


@pytest.mark.parametrize("comment", ["", "anna@clinic.example", "the key of ward 3", "\x1b[2J"])
def test_a_comment_that_is_no_name_of_a_site_names_none(folder: Path, comment: str) -> None:
    invite_site(folder, SETTINGS, "dias", new_site_key(comment)[1])
    assert [member.site for member in read_registry(folder / "sites.json")] == ["dias"]


def test_a_fingerprint_is_shown_on_inviting_and_in_the_list_of_sites(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {}
    for site in ("dias", "modern"):
        _, keys[site] = new_site_key(site)
        (tmp_path / "site.pub").write_bytes(keys[site])
        key, out = str(tmp_path / "site.pub"), str(tmp_path / "it.toml")
        _, told = _coordinator(folder, "invite", site, "--key", key, "--out", out)
        assert fingerprint(keys[site]) in told
    online = {1: NodeSeen("online", ""), 2: NodeSeen("online", "")}
    monkeypatch.setattr(overview, "ask_superlink", lambda *_: Seen(online, {}))
    shown, _ = _coordinator(folder, "sites")
    for site, public in keys.items():
        (line,) = [line for line in shown.splitlines() if site in line]
        assert fingerprint(public) in line
