"""Keeps the programs of a coordinator or a site running, and stops every one of them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from common.deployment.family import mark, stop_family, stop_orphans
from common.deployment.lock import alone
from common.deployment.ports import listens, taken
from common.deployment.running import STATE, stop_leftovers
from common.deployment.service_log import log_path, open_log, read_end
from common.errors import DeploymentError
from common.whole_file import whole_file

PLAN = "services.plan.json"
_POLL, _FIRST_PAUSE, _LONGEST_PAUSE, _CALM = 0.2, 1.0, 60.0, 60.0


@dataclass(frozen=True)
class Service:
    """A program that shall run.

    Attributes
    ----------
    name : str
        Also the name of its log.
    command : tuple of str
        Program and arguments.
    environment : dict of str to str
        What it has beside the supervisor's own environment.
    port : int
        On loopback: what comes later is started once it takes connections; 0 for at once.
    meanings : dict of str to str
        What it means for an operator that the log of a service that has ended holds a text; the
        first that is found is told.
    port_setting : str
        The setting that chose the port, and its file, for messages.
    """

    name: str
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)
    port: int = 0
    meanings: dict[str, str] = field(default_factory=dict)
    port_setting: str = "port"


@dataclass
class _Running:
    service: Service
    process: psutil.Popen
    log_begin: int
    since: float
    pause: float = _FIRST_PAUSE
    restart_at: float | None = None
    ended: dict[str, object] | None = None


def write_plan(folder: Path, services: Sequence[Service]) -> None:
    """Write what shall run in a folder."""
    with whole_file(folder / PLAN) as path:
        path.write_text(json.dumps([asdict(one) for one in services], indent=1), encoding="utf-8")


def read_plan(folder: Path) -> tuple[Service, ...]:
    """Read what shall run in a folder.

    Raises
    ------
    DeploymentError
        If it was not written by this release.
    """
    try:
        found = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        return tuple(Service(**{**one, "command": tuple(one["command"])}) for one in found)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DeploymentError(f"{folder / PLAN}: {error}") from error


class Supervisor:
    """Starts services in their order, starts again what ends, and stops all.

    Parameters
    ----------
    services : sequence of Service
        What shall run.
    folder : Path
        Where the state is written, and logs are, in ``logs/``.
    report : callable
        Called with a line of text for each thing that an operator should know.
    """

    def __init__(
        self, services: Sequence[Service], folder: Path, report: Callable[[str], None]
    ) -> None:
        self._services = services
        self._folder = folder
        self._report = report
        self._running: list[_Running] = []
        self._stopping = False

    def stop(self) -> None:
        """Have `run` stop every service and return; for handlers of signals.

        An exception out of a handler would lose a service that is being started.
        """
        self._stopping = True

    def run(self, *, patience: float = 60.0) -> None:
        """Run until told to stop, then stop every service.

        Parameters
        ----------
        patience : float
            Seconds that a service may take to become ready.

        Raises
        ------
        DeploymentError
            If another supervisor runs here, or a service does not become ready.
        """
        with alone(self._folder):
            left = stop_leftovers(self._folder)
            if left:
                self._report(f"stopped what an earlier start had left: {', '.join(left)}")
            try:
                self._write(ready=False)
                if self._start_all(patience):
                    self._write(ready=True)
                    self._report("ready")
                while not self._stopping:
                    self._look_after()
                    time.sleep(_POLL)
            finally:
                self._stop_all()

    def _start_all(self, patience: float) -> bool:
        for service in self._services:
            if service.port and listens(service.port):
                told = taken(service.port, service.port_setting)
                raise DeploymentError(f"{service.name}: {told}")
            process, log_begin = self._open(service)
            self._running.append(_Running(service, process, log_begin, time.monotonic()))
            self._write(ready=False)
            self._wait(self._running[-1], patience)
            if self._stopping:
                return False
        return True

    def _open(self, service: Service) -> tuple[psutil.Popen, int]:
        with open_log(self._folder, service.name) as log:
            begin = log.tell()
            try:
                # A session of its own: Ctrl-C in the terminal reaches the supervisor alone, which
                # stops services in order.
                process = psutil.Popen(
                    service.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **service.environment},
                    cwd=self._folder,
                    start_new_session=True,
                )
            except OSError as error:
                raise DeploymentError(f"{service.name}: {error.strerror}") from error
            return process, begin

    def _wait(self, running: _Running, patience: float) -> None:
        service, end = running.service, time.monotonic() + patience
        log = log_path(self._folder, service.name)
        while service.port and not self._stopping:
            if running.process.poll() is not None:
                raise DeploymentError(
                    f"{service.name}: ended at once{self._why(running)}; {log} tells more"
                )
            if listens(service.port):
                return
            if time.monotonic() > end:
                raise DeploymentError(
                    f"{service.name}: not ready after {patience:g} s; {log} tells more"
                )
            time.sleep(_POLL)

    def _look_after(self) -> None:
        now = time.monotonic()
        for one in self._running:
            if one.restart_at is None and one.process.poll() is not None:
                calm = now - one.since > _CALM
                one.pause = _FIRST_PAUSE if calm else min(2 * one.pause, _LONGEST_PAUSE)
                # Who ends of its own will, to give memory back, is not waited for.
                own_will = one.process.returncode == 0 and calm
                one.restart_at = now + (0.0 if own_will else one.pause)
                why = " of its own will, to give memory back" if own_will else self._why(one)
                if not own_will:
                    one.ended = {"at": time.time(), "why": why}
                    self._write(ready=True)
                self._report(f"{one.service.name} ended{why}; starting it again")
                # They may hold its port.
                stop_orphans(one.process.pid)
            elif one.restart_at is not None and now >= one.restart_at:
                one.process, one.log_begin = self._open(one.service)
                one.since, one.restart_at = now, None
                self._write(ready=True)
                self._report(f"{one.service.name} runs again")

    def _why(self, one: _Running) -> str:
        text = read_end(log_path(self._folder, one.service.name), one.log_begin)
        # The first: what comes later in the list may follow from it.
        found = [told for sign, told in one.service.meanings.items() if sign in text]
        return f" ({found[0]})" if found else ""

    def _write(self, *, ready: bool) -> None:
        state = {
            "supervisor": mark(psutil.Process()),
            "ready": ready,
            "services": {one.service.name: mark(one.process) for one in self._running},
            "ended": {one.service.name: one.ended for one in self._running if one.ended},
        }
        with whole_file(self._folder / STATE) as path:
            path.write_text(json.dumps(state, indent=1), encoding="utf-8")

    def _stop_all(self) -> None:
        # Last started, first stopped: what talks to another goes before it.
        for one in reversed(self._running):
            # Of one that waits for its restart nothing is left.
            if one.restart_at is None:
                stop_family(one.process)
        (self._folder / STATE).unlink(missing_ok=True)
