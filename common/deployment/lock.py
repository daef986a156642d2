"""One process a folder: a supervisor, or a run."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import DeploymentError

LOCK = "services.lock"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a folder's lock, which is free again however this process ends.

    Raises
    ------
    DeploymentError
        If another process holds it.
    """
    with (folder / LOCK).open("a+", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise DeploymentError(f"{folder}: runs already, as process {lock.read()}") from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
