"""The supervisor as a process of its own: what it starts, starts again and stops."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from common.deployment.lock import LOCK
from common.deployment.running import STATE, read_status, stop_all, stop_leftovers
from common.deployment.supervisor import Service, read_plan, write_plan
from common.errors import DeploymentError
from tests.common.supervised import PIDS, House, free_port, lives, service, until

# A child in a session of its own, and one whose parent has ended.
FAMILY = """
if os.fork() == 0:
    os.setsid()
elif os.fork() == 0 and os.fork():
    os._exit(0)
note("pids.txt")
"""


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    yield made
    made.clear()


def test_a_service_waits_for_the_port_of_the_one_before(house: House) -> None:
    # The first gives the second a second to be started too soon.
    slow = """
    end = time.monotonic() + 1
    while time.monotonic() < end and not Path("order.txt").exists():
        time.sleep(0.01)
    note("order.txt", "first")
    """
    first = service("first", slow, port=free_port())
    house.start_all(first, service("second", 'note("order.txt", "second")'))
    assert house.wait_lines("order.txt", 2) == ["first", "second"]
    assert list(house.pids()) == ["first", "second"]
    assert house.told() == ["ready"]


def test_a_service_has_its_environment_the_folder_and_a_log(house: House) -> None:
    code = """
    print(os.environ["PATH"], os.environ["SHOWN"], os.getcwd(), flush=True)
    print("wrong", file=sys.stderr)
    """
    shown = Service("shows", service("shows", code).command, {"SHOWN": "as told"})
    house.start_all(shown)
    expected = f"{os.environ['PATH']} as told {house.folder}\nwrong\n"
    until(lambda: house.log("shows").read_text(encoding="utf-8") == expected, "another log")


def test_a_service_that_ends_is_started_again_and_the_report_says_why(house: House) -> None:
    code = """
    note("runs.txt")
    if not Path("again").exists():
        Path("again").touch()
        print("it broke", flush=True)
        sys.exit(3)
    """
    meanings = {"it broke": "a part is missing", "it burnt": "there is a fire"}
    house.start_all(service("calm"), service("breaks", code, meanings=meanings))
    calm = house.pids()["calm"]
    house.wait_told("breaks runs again")
    assert "breaks ended (a part is missing); starting it again" in house.told()
    first, second = map(int, house.wait_lines("runs.txt", 2))
    assert not lives(first)
    assert house.pids() == {"calm": calm, "breaks": second}
    # What the log says of the first end is not the reason of the second.
    os.kill(second, signal.SIGKILL)
    house.wait_told("breaks ended; starting it again")


def test_what_an_ended_service_leaves_is_stopped_before_it_is_started_again(house: House) -> None:
    # As nginx: when it is killed, its workers hold the port.
    port = free_port()
    code = f"""
    listen({port})
    note("runs.txt")
    if os.fork() == 0:
        note("{PIDS}")
    """
    house.start_all(Service("proxy", service("proxy", code).command, port=port))
    worker = int(house.wait_lines(PIDS, 1)[0])
    os.kill(house.pids()["proxy"], signal.SIGKILL)
    house.wait_told("proxy runs again")
    house.wait_lines("runs.txt", 2)
    assert not lives(worker)


def test_stopping_ends_the_supervisor_its_services_and_all_that_they_have_started(
    house: House,
) -> None:
    notes_end = """
    def stop(*_):
        note("ends.txt", "{name}")
        sys.exit()
    signal.signal(signal.SIGTERM, stop)
    note("starts.txt", "{name}")
    """
    supervisor = house.start_all(
        service("first", notes_end.format(name="first")),
        service("second", FAMILY),
        service("last", notes_end.format(name="last")),
    )
    house.wait_lines("starts.txt", 2)
    family = {*map(int, house.wait_lines(PIDS, 3)), *house.pids().values()}
    assert len(family) == 5
    assert all(map(lives, family))
    assert stop_all(house.folder) == ["supervisor", "last", "second", "first"]
    assert not any(map(lives, family))
    assert supervisor.wait(20) == 0
    # What talks to another goes before it.
    assert house.lines("ends.txt") == ["last", "first"]
    assert house.told() == ["ready", "stopped"]
    assert stop_all(house.folder) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_stops_a_start_that_waits(number: int, house: House) -> None:
    code = f"{FAMILY}\nstay()"
    supervisor = house.start(service("slow", code, port=free_port()), service("never"))
    family = [*map(int, house.wait_lines(PIDS, 3))]
    supervisor.send_signal(number)
    assert supervisor.wait(20) == 0
    assert not any(map(lives, family))
    assert house.told() == ["stopped"]
    assert not house.log("never").exists()


def test_a_second_signal_does_not_break_off_what_the_first_has_begun(house: House) -> None:
    patient = """
    def stop(*_):
        note("asked.txt")
        while not Path("go").exists():
            time.sleep(0.01)
        note("ended.txt")
        sys.exit()
    signal.signal(signal.SIGTERM, stop)
    note("starts.txt")
    """
    supervisor = house.start_all(service("first", patient), service("second"))
    pids = house.pids()
    house.wait_lines("starts.txt", 1)
    supervisor.send_signal(signal.SIGINT)
    house.wait_lines("asked.txt", 1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        supervisor.send_signal(number)
    (house.folder / "go").touch()
    assert supervisor.wait(20) == 0
    assert house.lines("ended.txt") == [str(pids["first"])]
    assert not any(map(lives, pids.values()))
    assert not (house.folder / STATE).exists()


def test_under_nohup_a_terminal_that_goes_is_no_reason_to_stop(house: House) -> None:
    supervisor = house.start_all(service("only"), hangup=signal.SIG_IGN)
    supervisor.send_signal(signal.SIGHUP)
    os.kill(house.pids()["only"], signal.SIGKILL)
    # So it looks after its service still.
    house.wait_told("only ended")


def test_the_next_start_stops_what_a_killed_supervisor_has_left(house: House) -> None:
    supervisor = house.start_all(service("first", FAMILY), service("second", port=free_port()))
    left = {*map(int, house.wait_lines(PIDS, 3)), *house.pids().values()}
    supervisor.kill()
    supervisor.wait(20)
    status = read_status(house.folder)
    assert (status.supervisor, status.ready) == (None, False)
    assert len(house.pids()) == 2
    assert all(map(lives, left))
    # Of the same services, so that the port must be free.
    house.start_all(*read_plan(house.folder))
    assert not any(map(lives, left))
    assert "stopped what an earlier start had left: first, second" in house.told()
    assert not left & {*house.pids().values()}


def test_what_a_killed_supervisor_has_left_can_be_stopped(house: House) -> None:
    supervisor = house.start_all(service("first"), service("second"))
    left = house.pids()
    supervisor.kill()
    supervisor.wait(20)
    assert stop_leftovers(house.folder) == ["first", "second"]
    assert not any(map(lives, left.values()))
    assert stop_leftovers(house.folder) == []


@pytest.mark.parametrize("state", ["kept", "lost"])
def test_a_second_supervisor_is_refused(state: str, house: House) -> None:
    (house.folder / LOCK).write_text("4194304, of last week", encoding="utf-8")
    first = house.start_all(service("only"))
    pids = house.pids()
    if state == "kept":
        with pytest.raises(DeploymentError, match=f"runs already, as process {first.pid}"):
            stop_leftovers(house.folder)
    else:
        (house.folder / STATE).unlink()
    second = house.start(service("only"))
    assert second.wait(20) == 1
    refusal = f"dermafed: {house.folder}: runs already, as process {first.pid}"
    assert house.told() == ["ready", refusal]
    assert first.poll() is None
    assert all(map(lives, pids.values()))


def test_a_service_that_ends_at_once_is_an_error_with_its_meaning(house: House) -> None:
    house.log("broken").parent.mkdir()
    house.log("broken").write_text("it burnt, last week\n", encoding="utf-8")
    code = """
    print("it broke", flush=True)
    sys.exit(3)
    """
    meanings = {"it broke": "a part is missing", "it burnt": "there is a fire"}
    # Two signs of one thing.
    meanings["broke"] = "a part is missing"
    broken = service("broken", code, port=free_port(), meanings=meanings)
    supervisor = house.start(service("first", f'note("{PIDS}")'), broken, service("never"))
    assert supervisor.wait(20) == 1
    log = house.log("broken")
    assert house.told() == [
        f"dermafed: broken: ended at once (a part is missing); {log} tells more"
    ]
    assert not any(map(lives, map(int, house.lines(PIDS))))
    assert not house.log("never").exists()
    assert not (house.folder / STATE).exists()


def test_a_port_that_another_program_has_is_an_error(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        second = replace(service("second", port=port), port_setting="flower_port in some.toml")
        supervisor = house.start(service("first"), second)
        assert supervisor.wait(20) == 1
    told = f"dermafed: second: port {port} is taken by another program; stop that, or choose "
    assert house.told()[-1] == f"{told}another flower_port in some.toml"
    assert not (house.folder / STATE).exists()


def test_a_program_that_is_not_there_is_an_error(house: House) -> None:
    supervisor = house.start(service("first"), Service("second", ("/no/such/program",)))
    assert supervisor.wait(20) == 1
    assert house.told() == ["dermafed: second: No such file or directory"]


def test_a_plan_survives_its_file(tmp_path: Path) -> None:
    plan = (Service("a", ("b", "c d"), {"E": "f"}, 7, {"g": "h"}, "x"), Service("i", ("j",)))
    write_plan(tmp_path, plan)
    assert read_plan(tmp_path) == plan


@pytest.mark.parametrize("text", ["", "[", "7", "[7]", "[{}]", '[{"command": [], "no": 1}]'])
def test_a_plan_of_another_release_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(DeploymentError, match=r"services\.plan\.json"):
        read_plan(tmp_path)
    (tmp_path / "services.plan.json").write_text(text, encoding="utf-8")
    with pytest.raises(DeploymentError, match=r"services\.plan\.json"):
        read_plan(tmp_path)


def test_nothing_runs_in_a_folder_without_a_state(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        status = read_status(folder)
        assert (status.supervisor, status.ready, status.services) == (None, False, {})
    (tmp_path / STATE).write_text('{"superv', encoding="utf-8")
    assert read_status(tmp_path).services == {}
    assert stop_all(tmp_path) == []
    assert psutil.pid_exists(os.getpid())
