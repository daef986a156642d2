"""Processes are told from later ones of their number, and stopped with what they have started."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from common.deployment.family import Mark, mark, marked, stop_family, stop_processes
from common.deployment.running import STATE, read_status, stop_all, stop_leftovers
from tests.common.supervised import lives, program, until

Start = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a program, and return once it notes that it runs."""
    started = []

    def run(code: str = "") -> subprocess.Popen[bytes]:
        # Of a program of its own, as services are.
        process = subprocess.Popen(
            program(f"{code}\nnote('runs.txt')\nstay()"), cwd=tmp_path, start_new_session=True
        )
        started.append(process)
        until((tmp_path / "runs.txt").exists, "does not run")
        (tmp_path / "runs.txt").unlink()
        return process

    yield run
    for process in started:
        process.kill()
        process.wait(20)


def _changed(found: Mark, change: str) -> Mark:
    if change == "created":
        return Mark(**{**found, "created": found["created"] - 1.0})
    return Mark(**{**found, "boot": "another"})


def _write_state(folder: Path, supervisor: Mark, service: Mark) -> None:
    state = {"supervisor": supervisor, "ready": True, "services": {"a": service}}
    (folder / STATE).write_text(json.dumps(state), encoding="utf-8")


@pytest.mark.parametrize("change", ["created", "boot"])
def test_a_later_process_of_the_same_number_is_not_touched(
    change: str, start: Start, tmp_path: Path
) -> None:
    stranger = start("")
    found = mark(psutil.Process(stranger.pid))
    for stop in (stop_all, stop_leftovers):
        _write_state(tmp_path, _changed(found, change), _changed(found, change))
        status = read_status(tmp_path)
        assert (status.supervisor, status.ready, status.services) == (None, False, {"a": None})
        assert stop(tmp_path) == []
        assert not (tmp_path / STATE).exists()
    assert stranger.poll() is None
    # Of its own mark it is stopped.
    _write_state(tmp_path, _changed(found, change), found)
    assert stop_all(tmp_path) == ["a"]
    assert stranger.wait(20) == -signal.SIGTERM


def test_a_clock_that_is_set_does_not_lose_a_process(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = mark(psutil.Process(start("").pid))
    boot, create = psutil.boot_time, psutil.Process.create_time
    monkeypatch.setattr(psutil, "boot_time", lambda: boot() + 3600)
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: create(process) + 3600)
    assert marked(found) is not None


def test_an_ended_process_is_found_by_no_mark(start: Start) -> None:
    process = start("")
    one = psutil.Process(process.pid)
    found = mark(one)
    assert marked(found) == one
    process.kill()
    until(lambda: not lives(process.pid), "lives")
    # First as one that nobody has asked for its end, then gone.
    assert marked(found) is None
    process.wait(20)
    assert marked(found) is None
    assert marked(mark(one)) is None


def test_who_does_not_stop_when_asked_is_made_to(start: Start) -> None:
    deaf = start("signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    stop_processes([psutil.Process(deaf.pid)], patience=0.2)
    assert deaf.wait(20) == -signal.SIGKILL


def test_a_family_is_asked_in_its_order_before_it_is_made_to_stop(
    start: Start, tmp_path: Path
) -> None:
    # The head of the family ends its own child: that is not taken out of its hands.
    head = start(
        """
child = os.fork()
def stop(*_):
    note("ends.txt", "head" if child else "child")
    if child:
        os.kill(child, signal.SIGINT)
        os.waitpid(child, 0)
    sys.exit()
signal.signal(signal.SIGTERM, stop)
if not child:
    signal.signal(signal.SIGINT, lambda *_: (note("ends.txt", "child, by its head"), os._exit(0)))
    note("child.txt")
    stay()
"""
    )
    until((tmp_path / "child.txt").exists, "no child")
    stop_family(psutil.Process(head.pid))
    assert head.wait(20) == 0
    ends = (tmp_path / "ends.txt").read_text(encoding="utf-8").splitlines()
    assert ends == ["head", "child, by its head"]
