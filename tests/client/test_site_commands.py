"""``dermafed site init``, ``status`` and ``leave`` as their user meets them."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from cryptography.hazmat.primitives import serialization

from client.deployment.audit import AUDIT_FILE
from client.deployment.checkup import Finding
from client.deployment.settings import SITE_FILE, read_site_file
from common.deployment.family import mark
from common.deployment.running import STATE
from common.trust import fingerprint
from tests.client.site_commands import SiteCommands

PRIVATE = ("site.key", "worker.secret", "site.toml")
# Trees show what one site has made of its images, so that it has to allow them by name.
SUMS = ("ncm", "lda", "ridge", "logistic", "svm", "soft-vote", "stack", "balanced-bagging", "tuned")


@pytest.fixture
def cohort(write_cached_cohort: Callable[..., Path]) -> Path:
    return write_cached_cohort({"dias": 40, "molemax": 9})


@pytest.fixture
def site(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> SiteCommands:
    return SiteCommands(tmp_path / "clinic", monkeypatch, capsys)


@pytest.fixture
def made(site: SiteCommands, cohort: Path) -> SiteCommands:
    """A site that was just made."""
    assert site.init(cohort)[0] == 0
    return site


# init


def test_init_makes_a_key_a_secret_and_settings_that_only_their_owner_may_read(
    site: SiteCommands, cohort: Path
) -> None:
    code, shown, errors = site.init(cohort)
    assert (code, errors) == (0, "")
    folder = site.folder
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name for path in folder.iterdir()} == {*PRIVATE, "site.pub"}
    assert all(stat.S_IMODE((folder / name).stat().st_mode) == 0o600 for name in PRIVATE)
    key = serialization.load_ssh_private_key((folder / "site.key").read_bytes(), None)
    public = serialization.load_ssh_public_key((folder / "site.pub").read_bytes())
    assert key.public_key() == public
    assert len((folder / "worker.secret").read_bytes()) == 32
    assert f"{folder / 'site.pub'}: send this to the coordinator" in shown
    assert fingerprint((folder / "site.pub").read_bytes()) in shown
    assert "PRIVATE" not in shown
    bounds = read_site_file(folder).bounds
    assert (bounds.learners, bounds.strategies) == (SUMS, ())
    assert bounds.minimum_count == 5


def test_two_sites_share_neither_key_nor_secret(
    made: SiteCommands,
    cohort: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = SiteCommands(made.folder.parent / "other", monkeypatch, capsys)
    other.init(cohort, "molemax")
    for name in (*PRIVATE, "site.pub"):
        assert (other.folder / name).read_bytes() != (made.folder / name).read_bytes()


def test_a_second_init_is_refused_and_changes_nothing(made: SiteCommands, cohort: Path) -> None:
    folder = made.folder
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    told = made.refuse("init", "--site", "molemax", "--cohort", cohort)
    assert f"{folder / SITE_FILE}: exists already" in told
    (folder / SITE_FILE).unlink()
    told = made.refuse("init", "--site", "dias", "--cohort", cohort)
    assert f"{folder / 'site.key'}: exists already" in told
    del before[SITE_FILE]
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_is_no_site_of_the_cohort_makes_nothing(site: SiteCommands, cohort: Path) -> None:
    told = site.refuse("init", "--site", "vidir", "--cohort", cohort)
    assert "site vidir: not in " in told
    table = cohort / "HAM10000_metadata.csv"
    assert f"sites there: dias, molemax, by column dataset of {table}" in told
    assert "nowhere" in site.refuse("init", "--site", "dias", "--cohort", cohort / "nowhere")
    few = ("--minimum-count", 1)
    assert site("init", "--site", "dias", "--cohort", cohort, *few)[0] == 2
    assert not site.folder.exists()


@pytest.mark.parametrize(
    ("name", "port", "told"), [("our clinic", 9094, "site"), ("clinic", 70_000, "port")]
)
def test_a_name_or_port_that_cannot_be_is_named(
    site: SiteCommands, write_cohort: Callable[..., Path], name: str, port: int, told: str
) -> None:
    root = write_cohort([{"dataset": name}])
    found = site.refuse("init", "--cohort", root, "--site", name, "--port", port)
    assert f"{site.folder / SITE_FILE}: {told}: " in found
    assert not site.folder.exists()


# status and leave


def _running(folder: Path, supervisor: int, **services: int) -> None:
    """Write what a supervisor writes of processes."""
    state = {
        "ready": True,
        "supervisor": mark(psutil.Process(supervisor)),
        "services": {name: mark(psutil.Process(pid)) for name, pid in services.items()},
    }
    (folder / STATE).write_text(json.dumps(state), encoding="utf-8")


def _program() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)


def test_status_tells_that_nothing_runs_and_exits_with_1(made: SiteCommands) -> None:
    code, shown, _ = made("status")
    assert (code, shown.splitlines()) == (
        1,
        ["dias: no federation", "supernode: not running", "worker: not running"],
    )
    made.add_line(refused="BoundsError (the site's log says more under 1f)")
    code, shown, _ = made("status")
    assert code == 1
    assert "train.contribute, run 8, BoundsError (the site's log says more under 1f)" in shown


def _coordinator(monkeypatch: pytest.MonkeyPatch, *, right: bool, text: str) -> None:
    found = Finding("coordinator", right, text)
    module = sys.modules["client.commands.site.status"]
    monkeypatch.setattr(module, "check_coordinator", lambda *_: found)


def test_status_tells_of_a_coordinator_that_is_not_reached(
    made: SiteCommands, monkeypatch: pytest.MonkeyPatch
) -> None:
    made("join", made.invite(), "--dry-run")
    me = psutil.Process().pid
    _running(made.folder, me, supernode=me, worker=me)
    _coordinator(monkeypatch, right=False, text="connection refused")
    code, shown, _ = made("status")
    assert code == 1
    assert "WRONG coordinator: connection refused" in shown


def test_status_tells_of_a_program_that_has_just_ended(
    made: SiteCommands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that is refused ends the SuperNode again and again; each look finds another start."""
    made("join", made.invite(), "--dry-run")
    _coordinator(monkeypatch, right=True, text="it answers")
    me = psutil.Process().pid
    _running(made.folder, me, supernode=me, worker=me)
    path = made.folder / STATE
    state = json.loads(path.read_text(encoding="utf-8"))
    for ago, code in ((20.0, 1), (2000.0, 0)):
        state["ended"] = {"supernode": {"at": time.time() - ago, "why": " (its key was removed)"}}
        path.write_text(json.dumps(state), encoding="utf-8")
        found, shown, _ = made("status")
        assert (found, "s ago (its key was removed)" in shown) == (code, code == 1)


def test_a_mistake_in_the_settings_keeps_no_site_from_being_stopped(made: SiteCommands) -> None:
    made("join", made.invite(), "--dry-run")
    path = made.folder / SITE_FILE
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("minimum_count =", "minimum_cuont ="), encoding="utf-8")
    with _program() as program:
        _running(made.folder, program.pid, worker=program.pid)
        code, shown, _ = made("status")
        assert code == 1
        assert "bounds.minimum_cuont: unknown setting; did you mean minimum_count?" in shown
        assert f"worker: process {program.pid}" in shown
        code, _, errors = made("leave", "--stop-only")
        assert (code, errors.startswith("stopped: supervisor")) == (0, True)
        assert program.wait(20) != 0
    assert "did you mean minimum_count?" in made.refuse("status")


def test_status_exits_with_0_only_if_all_runs(
    made: SiteCommands, monkeypatch: pytest.MonkeyPatch
) -> None:
    _coordinator(monkeypatch, right=True, text="it answers")
    made("join", made.invite(), "--dry-run")
    me = psutil.Process().pid
    _running(made.folder, me, supernode=me, worker=me)
    code, shown, _ = made("status")
    assert (code, shown.count(f"process {me}, ")) == (0, 2)
    assert shown.startswith("dias: coordinator.example:9092\ncoordinator: it answers\n")
    with _program() as program:
        _running(made.folder, me, supernode=me, worker=program.pid)
        program.communicate(b"\n")
        code, shown, _ = made("status")
    assert code == 1
    assert "worker: not running" in shown


def test_status_and_leave_of_a_folder_that_is_no_site_are_refused(site: SiteCommands) -> None:
    for command in ("status", "leave", "check", "audit", "join"):
        assert f"{site.folder / SITE_FILE}: missing" in site.refuse(command)


def test_leave_stops_what_runs_forgets_the_coordinator_and_keeps_key_and_trail(
    made: SiteCommands,
) -> None:
    folder = made.folder
    made("join", made.invite(), "--dry-run")
    made.add_line()
    kept = {name: (folder / name).read_bytes() for name in ("site.key", "site.pub", AUDIT_FILE)}
    with _program() as program:
        _running(folder, program.pid, worker=program.pid)
        code, _, errors = made("leave", "--stop-only")
        assert (code, errors.splitlines()[0].startswith("stopped: supervisor")) == (0, True)
        assert program.wait(20) != 0
    assert read_site_file(folder).membership is not None
    code, _, errors = made("leave")
    assert (code, errors.splitlines()[0]) == (0, "stopped: nothing was running")
    assert "tell the coordinator" in errors
    assert f"dermafed site new-key --folder {folder}" in errors
    assert read_site_file(folder).membership is None
    assert not (folder / "authority.pem").exists()
    assert {name: (folder / name).read_bytes() for name in kept} == kept
