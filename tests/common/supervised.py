"""What tests of the supervisor share: small programs, and an end of all of them."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from common.deployment.running import STATE, read_status, stop_all
from common.deployment.service_log import log_path
from common.deployment.supervisor import Service, write_plan

Supervising = subprocess.Popen[bytes]
Signals = signal.Handlers

# Where a program notes what it has started besides itself.
PIDS = "pids.txt"
_LIMIT, _POLL = 30.0, 0.02
_ROOT = Path(__file__).parents[2]

# What each program begins with. It runs in the supervisor's folder.
_BEGIN = """
import os, signal, socket, sys, time
from pathlib import Path

def note(file, text=""):
    with open(file, "a") as stream:
        stream.write(f"{text or os.getpid()}\\n")

def listen(port):
    global listener
    listener = socket.create_server(("127.0.0.1", port))

def stay():
    while True:
        signal.pause()

"""


def until(condition: Callable[[], object], what: str) -> None:
    """Wait for a condition, and fail where it does not come."""
    end = time.monotonic() + _LIMIT
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(_POLL)


# Before each line of a log; on a terminal there is none.
_TIME = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def program(code: str) -> tuple[str, ...]:
    """Give the command of a program; without the site's packages it starts sooner."""
    return (sys.executable, "-I", "-S", "-c", _BEGIN + textwrap.dedent(code))


def service(
    name: str, code: str = "", *, port: int = 0, meanings: dict[str, str] | None = None
) -> Service:
    """Make a service that runs code, takes connections, and stays until it is stopped."""
    end = (f"\nlisten({port})" if port else "") + "\nstay()\n"
    return Service(name, program(textwrap.dedent(code) + end), port=port, meanings=meanings or {})


def lives(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


@contextmanager
def _signals(wanted: Mapping[signal.Signals, Signals]) -> Iterator[None]:
    """Handle signals as wanted in programs that are started within."""
    before = {number: signal.signal(number, how) for number, how in wanted.items()}
    try:
        yield
    finally:
        for number, how in before.items():
            signal.signal(number, how)


class House:
    """A folder, and the supervisors that were started in it as processes of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._supervisors: list[Supervising] = []

    def start(self, *services: Service, hangup: Signals = signal.SIG_DFL) -> Supervising:
        """Start a supervisor."""
        write_plan(self.folder, services)
        command = [sys.executable, "-m", "common.deployment", str(self.folder)]
        # In the background of a shell, or under nohup, the tests' own are ignored.
        with _signals({signal.SIGINT: signal.SIG_DFL, signal.SIGHUP: hangup}):
            return self.run(command)

    def run(self, command: Sequence[str]) -> Supervising:
        """Start a program that is to become a supervisor."""
        with (self.folder / "told.txt").open("ab") as told:
            supervisor = subprocess.Popen(
                command,
                cwd=_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=subprocess.STDOUT,
            )
        self._supervisors.append(supervisor)
        return supervisor

    def start_all(self, *services: Service, hangup: Signals = signal.SIG_DFL) -> Supervising:
        """Start a supervisor, and wait until its services are ready."""
        supervisor = self.start(*services, hangup=hangup)
        self.wait_ready(supervisor)
        return supervisor

    def wait_ready(self, supervisor: Supervising) -> None:
        def is_ready() -> bool:
            assert supervisor.poll() is None, self.told()
            status = read_status(self.folder)
            ours = status.supervisor == psutil.Process(supervisor.pid)
            # The state is written first.
            return ours and status.ready and "ready" in self.told()

        until(is_ready, "not ready")

    def told(self) -> list[str]:
        """Give the supervisors' reports, without their times."""
        text = (self.folder / "told.txt").read_text(encoding="utf-8")
        lines = text.splitlines()
        assert all(_TIME.match(line) for line in lines), text
        return [_TIME.sub("", line) for line in lines]

    def wait_told(self, part: str) -> str:
        """Wait for a report that holds a text."""
        until(lambda: part in "\n".join(self.told()), f"not told: {part}")
        return next(line for line in self.told() if part in line)

    def lines(self, name: str) -> list[str]:
        """Give the lines that programs have written to a file."""
        path = self.folder / name
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def wait_lines(self, name: str, count: int) -> list[str]:
        until(lambda: len(self.lines(name)) >= count, f"{name}: not {count} lines")
        return self.lines(name)

    def pids(self) -> dict[str, int]:
        """Give the processes of the services that run."""
        services = read_status(self.folder).services
        return {name: process.pid for name, process in services.items() if process is not None}

    def log(self, name: str) -> Path:
        return log_path(self.folder, name)

    def clear(self) -> None:
        """Leave no process behind, however the test has ended."""
        for supervisor in self._supervisors:
            supervisor.terminate()
        for supervisor in self._supervisors:
            with suppress(subprocess.TimeoutExpired):
                supervisor.wait(_LIMIT)
            supervisor.kill()
            supervisor.wait(_LIMIT)
        if (self.folder / STATE).exists():
            stop_all(self.folder)
        for pid in map(int, self.lines(PIDS)):
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                if _BEGIN in process.cmdline()[-1]:
                    process.kill()
