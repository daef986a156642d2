"""Files of trust: private ones are their owner's alone, and none is overwritten unseen."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from common.errors import TrustError


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read.

    Raises
    ------
    TrustError
        If it exists already or cannot be written.
    """
    _write(path, content, 0o600)


def write_public(path: Path, content: bytes) -> None:
    """Write a file that everybody may read.

    Raises
    ------
    TrustError
        If it exists already or cannot be written.
    """
    _write(path, content, 0o644)


def read_private(path: Path) -> bytes:
    """Read a file, and refuse one that others than its owner may read.

    Raises
    ------
    TrustError
        If it is missing, or open to others.
    """
    try:
        mode = path.stat().st_mode
        content = path.read_bytes()
    except OSError as error:
        raise TrustError(f"{path}: {error.strerror}") from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise TrustError(f"{path}: others may read it; chmod 600 it, or make a new one")
    return content


def _write(path: Path, content: bytes, mode: int) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The mode is there before the content is.
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
    except FileExistsError as error:
        raise TrustError(f"{path}: exists already; remove it to make another") from error
    except OSError as error:
        raise TrustError(f"{path}: {error.strerror}") from error
