"""What runs in a folder: read of what its supervisor writes, and stopped."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from common.deployment.family import GRACE, marked, stop_family, stop_processes
from common.errors import DeploymentError

STATE = "services.json"
# So long after a service has ended by itself, that is told.
_LATELY = 180.0


@dataclass(frozen=True)
class Status:
    """What runs in a folder.

    Attributes
    ----------
    supervisor : psutil.Process or None
        Who looks after the services.
    ready : bool
        Whether all were started, and are looked after.
    services : dict of str to psutil.Process or None
        By name; None for one that does not run.
    ended : dict of str to str
        When and why a service has ended lately, by name.
    """

    supervisor: psutil.Process | None
    ready: bool
    services: dict[str, psutil.Process | None]
    ended: dict[str, str] = field(default_factory=dict)


def read_status(folder: Path) -> Status:
    """Tell what runs."""
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return Status(None, ready=False, services={})
    services = {name: marked(one) for name, one in state["services"].items()}
    supervisor = marked(state["supervisor"])
    # A supervisor that was killed leaves word of being ready.
    ended = {
        name: f"ended {time.time() - one['at']:.0f} s ago{one['why']}"
        for name, one in state.get("ended", {}).items()
        if supervisor is not None and time.time() - one["at"] < _LATELY
    }
    return Status(supervisor, supervisor is not None and bool(state["ready"]), services, ended)


def stop_leftovers(folder: Path) -> list[str]:
    """Stop services whose supervisor was killed, and name them.

    Raises
    ------
    DeploymentError
        If their supervisor is alive.
    """
    status = read_status(folder)
    if status.supervisor is not None:
        raise DeploymentError(f"{folder}: runs already, as process {status.supervisor.pid}")
    left = [(name, process) for name, process in status.services.items() if process is not None]
    for _, process in reversed(left):
        stop_family(process)
    (folder / STATE).unlink(missing_ok=True)
    return [name for name, _ in left]


def stop_all(folder: Path) -> list[str]:
    """Stop the supervisor and its services, and name what was stopped."""
    status = read_status(folder)
    stopped = []
    if status.supervisor is not None:
        stopped.append("supervisor")
        stop_processes([status.supervisor], patience=2 * GRACE * (1 + len(status.services)))
    for name, process in reversed(status.services.items()):
        if process is not None:
            stopped.append(name)
            if process.is_running():
                stop_family(process)
    (folder / STATE).unlink(missing_ok=True)
    return stopped
