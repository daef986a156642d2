"""Starting a folder's programs: left to themselves, or in the foreground."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from common.deployment import start
from common.deployment.family import Mark, mark
from common.deployment.ports import listens
from common.deployment.running import STATE, Status, read_status, stop_all
from common.deployment.start import start_detached
from common.deployment.supervisor import read_plan, write_plan
from common.errors import DeploymentError, InterruptionError
from tests.common.supervised import PIDS, House, free_port, lives, service


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.clear()


def _stop(folder: Path) -> None:
    """Stop a detached supervisor, which is a child of the tests nevertheless."""
    supervisor = read_status(folder).supervisor
    assert supervisor is not None
    stop_all(folder)
    os.waitpid(supervisor.pid, 0)


def test_a_detached_start_returns_once_all_is_ready(house: House) -> None:
    # What a supervisor that was killed has left says that it is ready.
    killed = Mark(**{**mark(psutil.Process()), "created": 0.0})
    state = {"supervisor": killed, "ready": True, "services": {}}
    (house.folder / STATE).write_text(json.dumps(state), encoding="utf-8")
    port, told = free_port(), list[str]()
    services = [service("slow", "time.sleep(0.5)", port=port), service("next")]
    start_detached(services, house.folder, told.append)
    assert listens(port)
    status = read_status(house.folder)
    assert status.ready
    assert list(house.pids()) == ["slow", "next"]
    assert status.supervisor is not None
    assert told == [
        (
            f"{house.folder}: runs, as process {status.supervisor.pid}; "
            f"logs are in {house.folder / 'logs'}"
        )
    ]
    # It outlives the terminal.
    assert os.getsid(status.supervisor.pid) == status.supervisor.pid
    with pytest.raises(DeploymentError, match=f"runs already, as process {status.supervisor.pid}"):
        start_detached([service("other")], house.folder, told.append)
    assert [one.name for one in read_plan(house.folder)] == ["slow", "next"]
    _stop(house.folder)
    assert not listens(port)


def test_a_detached_start_that_fails_says_why(house: House) -> None:
    house.log("supervisor").parent.mkdir()
    house.log("supervisor").write_text("of last week\n", encoding="utf-8")
    code = """
    print("it broke", flush=True)
    sys.exit(3)
    """
    broken = service("broken", code, port=free_port(), meanings={"it broke": "a part is missing"})
    reason = r"could not be started: broken: ended at once \(a part is missing\)"
    told: list[str] = []
    with pytest.raises(DeploymentError, match=reason):
        start_detached([broken], house.folder, told.append)
    assert told == []


def test_a_detached_start_that_fails_without_a_word_names_the_log(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.log("supervisor").parent.mkdir()
    house.log("supervisor").write_text("of last week\n", encoding="utf-8")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(DeploymentError, match=r"could not be started: see .*supervisor\.log"):
        start_detached([service("only")], house.folder, lambda _: None)


def test_a_detached_start_that_takes_too_long_leaves_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "_PATIENCE", 1.0)
    never = service("never", f'note("{PIDS}")\nstay()', port=free_port())
    with pytest.raises(DeploymentError, match="not ready after 1 s"):
        start_detached([never], house.folder, lambda _: None)
    assert not any(map(lives, map(int, house.lines(PIDS))))
    assert read_status(house.folder).supervisor is None


def test_an_interrupted_start_leaves_nothing_running_and_says_so(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(folder: Path) -> Status:
        if house.lines(PIDS):
            raise KeyboardInterrupt
        return read_status(folder)

    never = service("never", f'note("{PIDS}")\nstay()', port=free_port())
    monkeypatch.setattr(start, "read_status", look)
    with pytest.raises(InterruptionError, match=f"^{house.folder}: what had been started is stop"):
        start_detached([never], house.folder, lambda _: None)
    assert not any(map(lives, map(int, house.lines(PIDS))))
    assert read_status(house.folder).supervisor is None


def test_a_start_in_the_foreground_becomes_the_supervisor(house: House) -> None:
    write_plan(house.folder, [service("only")])
    code = """
import sys
from pathlib import Path
from common.deployment.start import start_here
from common.deployment.supervisor import read_plan
start_here(read_plan(Path(sys.argv[1])), Path(sys.argv[1]))
"""
    starting = house.run([sys.executable, "-c", code, str(house.folder)])
    house.wait_ready(starting)
    assert list(house.pids()) == ["only"]
    assert stop_all(house.folder) == ["supervisor", "only"]
    assert starting.wait(20) == 0
