"""A site whose audit trail cannot be written or was touched answers nothing; the others go on."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from client.deployment.audit import AUDIT_FILE, read_trail
from tests.deploy.conftest import DERMAFED, LEARNER, SITES, Federation, same_model, wait_until
from tests.deploy.hostile_site import members_and_left_out, simulate_without

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]
SITE = "vidir_molemax"
# Long enough for sites that are slow because the machine is busy.
ROUNDS = ("--quorum", "3", "--deadline", "60")


@pytest.fixture(scope="module")
def others(federation: Federation) -> Path:
    return simulate_without(federation, SITE)


@contextmanager
def _no_file_longer(federation: Federation, length: int) -> Iterator[None]:
    """Have the kernel refuse every byte beyond a length, to a site's supervisor and its worker."""
    folder = federation.site(SITE)
    # What the supervisor starts meanwhile has its limit.
    limited = [federation.supervisor(folder), federation.process(folder, "worker")]
    for process in limited:
        process.rlimit(resource.RLIMIT_FSIZE, (length, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        free = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        limited[0].rlimit(resource.RLIMIT_FSIZE, free)
        # Between two starts there may be none.
        with suppress(psutil.NoSuchProcess):
            federation.process(folder, "worker").kill()


def _is_up(federation: Federation) -> bool:
    try:
        return federation.process(federation.site(SITE), "worker").is_running()
    except (psutil.NoSuchProcess, TypeError, KeyError):
        return False


def test_a_site_whose_disk_is_full_answers_nothing_and_comes_back_with_a_whole_trail(
    federation: Federation, trained: Path, others: Path
) -> None:
    path = federation.site(SITE) / AUDIT_FILE
    before = path.read_bytes()
    log = federation.site(SITE) / "logs" / "worker.log"
    with _no_file_longer(federation, len(before)):
        done = federation.run("disk-full", *LEARNER, *ROUNDS)
        # Not a byte more, and so not an answer.
        assert path.read_bytes() == before
    assert done.returncode == 0, done.stderr
    members, left_out = members_and_left_out(federation.result("disk-full"))
    assert members == set(SITES) - {SITE}
    assert left_out.keys() == {SITE}
    assert same_model(federation.result("disk-full"), others)
    assert "nothing is answered" in log.read_text(encoding="utf-8")
    # Once there is room it answers again, in the same trail.
    wait_until(lambda: _is_up(federation))
    done = federation.run("disk-free", *LEARNER)
    assert done.returncode == 0, done.stderr
    assert same_model(federation.result("disk-free"), trained)
    assert path.read_bytes().startswith(before)
    assert len(list(read_trail(path))) > len(before.splitlines())


def test_a_site_whose_trail_was_touched_answers_nothing_until_it_is_put_right(
    federation: Federation, trained: Path, others: Path
) -> None:
    folder = federation.site(SITE)
    path = folder / AUDIT_FILE
    right = path.read_bytes()
    first = json.loads(right.splitlines()[0])
    touched = right.replace(first["time"].encode(), b"2020-01-01T00:00:00.000+00:00", 1)
    assert touched != right
    path.write_bytes(touched)
    try:
        # A worker that starts reads the whole trail; one that runs, what comes after its last line.
        federation.process(folder, "worker").kill()
        done = federation.run("touched", *LEARNER, *ROUNDS)
        audit = federation.call(str(DERMAFED), "site", "audit", "--folder", str(folder))
    finally:
        assert path.read_bytes() == touched
        path.write_bytes(right)
    assert done.returncode == 0, done.stderr
    assert members_and_left_out(federation.result("touched"))[1].keys() == {SITE}
    assert same_model(federation.result("touched"), others)
    assert audit.returncode == 1
    assert "line 1 is not the one" in audit.stderr
    log = (folder / "logs" / "worker.log").read_text(encoding="utf-8")
    assert "line 1 is not the one" in log
    # Its supervisor waits a minute, at most, before it starts it again.
    wait_until(lambda: _is_up(federation))
    done = federation.run("put-right", *LEARNER)
    assert done.returncode == 0, done.stderr
    assert same_model(federation.result("put-right"), trained)
