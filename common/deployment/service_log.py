"""The log of a service: its output, one start after the other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO

LOGS = "logs"
_TAIL = 4000


def log_path(folder: Path, name: str) -> Path:
    """Give a service's log."""
    return folder / LOGS / f"{name}.log"


def open_log(folder: Path, name: str) -> IO[bytes]:
    """Open a log behind what it holds already; its ``tell()`` is where this start's begins."""
    path = log_path(folder, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab")


def read_end(path: Path, begin: int) -> str:
    """Read a log's end; of one that was rotated away there is none.

    Parameters
    ----------
    path : Path
        The log.
    begin : int
        Bytes of earlier starts, which say nothing of this one.
    """
    try:
        with path.open("rb") as log:
            size = log.seek(0, os.SEEK_END)
            # A log that was emptied meanwhile holds this start's alone.
            log.seek(max(begin if begin <= size else 0, size - _TAIL))
            return log.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
