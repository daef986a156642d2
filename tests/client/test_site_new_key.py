"""``dermafed site new-key``: another key, and nothing else."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from cryptography.hazmat.primitives import serialization

from common.deployment.family import Mark, mark
from common.deployment.lock import LOCK, alone
from common.deployment.running import STATE
from common.trust import fingerprint
from tests.client.site_commands import SiteCommands


@pytest.fixture
def site(write_cached_cohort: Callable[..., Path], clinic: SiteCommands) -> SiteCommands:
    """A site that has joined and has been asked."""
    assert clinic.init(write_cached_cohort({"dias": 12}))[0] == 0
    assert clinic("join", clinic.invite(), "--dry-run")[0] == 0
    clinic.add_line()
    return clinic


def _contents(folder: Path) -> dict[str, bytes]:
    # Who holds the lock at the moment is no content.
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != LOCK}


def test_a_new_key_replaces_both_halves_and_nothing_else(site: SiteCommands) -> None:
    before = _contents(site.folder)
    code, shown, errors = site("new-key")
    assert (code, errors) == (0, "")
    after = _contents(site.folder)
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {"site.key", "site.pub"}
    # Nothing is kept of the old one.
    kept = [line for line in before["site.key"].splitlines() if b"-----" not in line][-3]
    assert not [name for name, content in after.items() if kept in content]
    private = serialization.load_ssh_private_key(after["site.key"], None)
    assert private.public_key() == serialization.load_ssh_public_key(after["site.pub"])
    assert after["site.pub"].endswith(b" dias\n")
    assert stat.S_IMODE((site.folder / "site.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((site.folder / "site.pub").stat().st_mode) == 0o644
    assert fingerprint(after["site.pub"]) in shown
    assert f"{site.folder / 'site.pub'}: a new key; send this to the coordinator" in shown
    assert "dermafed coordinator invite dias --key site.pub" in shown
    assert "PRIVATE" not in shown


def test_after_a_new_key_the_old_invitation_is_refused_and_the_next_one_is_taken(
    site: SiteCommands,
) -> None:
    old = site.invite()
    site("new-key")
    assert "is for another key than" in site.refuse("join", old, "--dry-run")
    assert site("join", site.invite(), "--dry-run")[0] == 0


def test_a_lost_key_can_be_replaced(site: SiteCommands) -> None:
    for name in ("site.key", "site.pub"):
        (site.folder / name).unlink()
    assert site("new-key")[0] == 0
    assert {"site.key", "site.pub"} <= _contents(site.folder).keys()


@pytest.mark.parametrize("supervised", [True, False])
def test_the_key_of_a_site_that_runs_is_not_replaced(site: SiteCommands, supervised: bool) -> None:
    me = mark(psutil.Process())
    # Of a supervisor that was killed, the programs go on.
    supervisor = me if supervised else Mark(**{**me, "created": 0.0})
    state = {"ready": True, "supervisor": supervisor, "services": {"supernode": me}}
    (site.folder / STATE).write_text(json.dumps(state), encoding="utf-8")
    before = _contents(site.folder)
    told = site.refuse("new-key")
    assert f"dermafed site leave --stop-only --folder {site.folder}" in told
    assert _contents(site.folder) == before


def test_a_site_that_is_starting_keeps_its_key(site: SiteCommands) -> None:
    before = _contents(site.folder)
    with alone(site.folder):
        assert f"{site.folder}: runs already" in site.refuse("new-key")
    assert _contents(site.folder) == before


def test_a_folder_that_is_no_sites_gets_no_key(site: SiteCommands) -> None:
    (site.folder / "site.toml").unlink()
    before = _contents(site.folder)
    assert (
        "site.toml: missing; name its folder with --folder, or make it with dermafed site init"
        in site.refuse("new-key")
    )
    assert _contents(site.folder) == before
