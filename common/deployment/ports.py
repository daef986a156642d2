"""Whether something listens."""

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
