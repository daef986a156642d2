"""Starting a folder's programs: in the foreground, or left to themselves."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from common.deployment.running import read_status
from common.deployment.service_log import log_path, open_log, read_end
from common.deployment.supervisor import Service, write_plan
from common.errors import DeploymentError, InterruptionError

_PATIENCE, _POLL = 180.0, 0.2


def start_here(services: Sequence[Service], folder: Path) -> NoReturn:
    """Become the supervisor of services, until interrupted.

    Raises
    ------
    DeploymentError
        If they run already.
    """
    command = _prepare(services, folder)
    os.execv(command[0], command)  # noqa: S606 -- our own program


def start_detached(
    services: Sequence[Service], folder: Path, report: Callable[[str], None]
) -> None:
    """Start a supervisor of its own, and return once all services are ready.

    Parameters
    ----------
    services : sequence of Service
        What shall run.
    folder : Path
        Where state and logs go.
    report : callable
        Called with a line of text for each thing that an operator should know.

    Raises
    ------
    DeploymentError
        If they run already or cannot be started.
    InterruptionError
        By Ctrl-C or SIGTERM before all are ready; nothing is left running.
    """
    command = _prepare(services, folder)
    log = log_path(folder, "supervisor")
    with open_log(folder, "supervisor") as out:
        begin = out.tell()
        process = subprocess.Popen(  # noqa: S603 -- our own program
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait(process, folder, begin)
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise InterruptionError(f"{folder}: what had been started is stopped again") from None
    # It is left to itself; Popen would warn of that.
    process.returncode = 0
    report(f"{folder}: runs, as process {process.pid}; logs are in {log.parent}")


def _wait(process: subprocess.Popen[bytes], folder: Path, begin: int) -> None:
    """Wait until all services are ready."""
    log, end = log_path(folder, "supervisor"), time.monotonic() + _PATIENCE
    while not read_status(folder).ready:
        if process.poll() is not None:
            last = read_end(log, begin).splitlines()[-1:]
            reason = " ".join(last).partition("dermafed: ")[2] or f"see {log}"
            raise DeploymentError(f"{folder}: could not be started: {reason}")
        if time.monotonic() > end:
            process.terminate()
            process.wait()
            raise DeploymentError(f"{folder}: not ready after {_PATIENCE:g} s; see {log}")
        time.sleep(_POLL)


def _prepare(services: Sequence[Service], folder: Path) -> list[str]:
    status = read_status(folder)
    if status.supervisor is not None:
        raise DeploymentError(f"{folder}: runs already, as process {status.supervisor.pid}")
    write_plan(folder, services)
    return [sys.executable, "-m", "common.deployment", str(folder)]
