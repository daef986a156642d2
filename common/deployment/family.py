"""A process and all that it has started: told apart from strangers, and stopped whole."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypedDict

import psutil

GRACE = 15.0
_POLL, _CLOSE = 0.05, 0.05
_BOOT = Path("/proc/sys/kernel/random/boot_id")


class Mark(TypedDict):
    """What tells a process from a later one of the same number.

    Attributes
    ----------
    pid : int
        Its number.
    created : float
        Seconds from the machine's start to its own. The time of day is no use: a clock that is
        set right while the process runs moves it.
    boot : str
        Which start of the machine that was; empty where the system does not say.
    """

    pid: int
    created: float
    boot: str


def mark(process: psutil.Process) -> Mark:
    """Mark a process, to find it again from elsewhere."""
    try:
        return Mark(pid=process.pid, created=_created(process), boot=_boot())
    except psutil.NoSuchProcess:
        # Ended already: nothing is as old as the machine, so this finds nothing.
        return Mark(pid=process.pid, created=-1.0, boot=_boot())


def marked(found: Mark) -> psutil.Process | None:
    """Give the process of a mark, unless it has ended or its number has gone to another."""
    try:
        process = psutil.Process(found["pid"])
        same = found["boot"] == _boot() and abs(_created(process) - found["created"]) < _CLOSE
    except psutil.NoSuchProcess:
        return None
    return process if same and _lives(process) else None


def stop_family(process: psutil.Process) -> None:
    """Stop a process and all that it has started: first asked to, then made to."""
    family = []
    with suppress(psutil.NoSuchProcess):
        family = process.children(recursive=True)
    # It may know how to stop its own, so that they are asked only once it is gone.
    stop_processes([process])
    stop_processes([*family, *_session(process.pid)])


def stop_orphans(leader: int) -> None:
    """Stop what a process that led a session, and has ended just now, has left."""
    stop_processes(_session(leader))


def stop_processes(processes: Sequence[psutil.Process], patience: float = GRACE) -> None:
    """Stop processes: first asked to, then, after `patience` seconds, made to."""
    for one in processes:
        with suppress(psutil.NoSuchProcess):
            one.terminate()
    left = _wait(processes, patience)
    for one in left:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    _wait(left, GRACE)


def _wait(processes: Sequence[psutil.Process], patience: float) -> list[psutil.Process]:
    """Wait until processes end, and give those that do not."""
    end = time.monotonic() + patience
    while (left := [one for one in processes if _lives(one)]) and time.monotonic() < end:
        time.sleep(_POLL)
    return left


def _lives(process: psutil.Process) -> bool:
    # What has ended stays in the table until its parent asks, which in a container may be never.
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _session(leader: int) -> list[psutil.Process]:
    found = []
    for pid in psutil.pids():
        with suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            if pid != leader and os.getsid(pid) == leader:
                found.append(psutil.Process(pid))
    return found


def _created(process: psutil.Process) -> float:
    return process.create_time() - psutil.boot_time()


def _boot() -> str:
    return _BOOT.read_text(encoding="ascii").strip() if _BOOT.exists() else ""
