"""Ports: whether something listens, and what to do about one that is taken."""

from __future__ import annotations

import socket

LOOPBACK = "127.0.0.1"


def listens(port: int, host: str = LOOPBACK) -> bool:
    """Tell whether a port takes connections."""
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False


def taken(port: int, setting: str) -> str:
    """Say that another program has a port, and where another one is chosen.

    Parameters
    ----------
    port : int
        The port.
    setting : str
        The setting that chose it, and its file.
    """
    return f"port {port} is taken by another program; stop that, or choose another {setting}"


def meanings_of_taken(port: int, setting: str) -> dict[str, str]:
    """Tell the same where a program's log says it, as a service's ``meanings``."""
    told = taken(port, setting)
    return {"Address already in use": told, "Errno 98": told}
