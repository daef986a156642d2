"""How Flower's own programs are started: where they are, and what is switched off in them."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from common.cli import NO_TELEMETRY
from common.errors import DeploymentError

CONNECTION = "dermafed"


def flower_environment(home: Path) -> dict[str, str]:
    """Give what the environment of Flower's programs has beside the user's own.

    Parameters
    ----------
    home : Path
        Where they keep their own configuration and unpacked bundles.
    """
    return {
        **NO_TELEMETRY,
        "FLWR_HOME": str(home),
        # What a message took goes back to the system once it is answered.
        "MALLOC_ARENA_MAX": "2",
        "MALLOC_TRIM_THRESHOLD_": "131072",
        # Code comes with the installation; nothing is installed while a run is on.
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        # Each of them finds the others by name, in this environment first.
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    }


def program(name: str) -> str:
    """Give the path of a program of this installation.

    Raises
    ------
    DeploymentError
        If it is not installed.
    """
    path = Path(sys.executable).with_name(name)
    if not path.is_file():
        raise DeploymentError(f"{name}: not in {path.parent}; install dermafed anew")
    return str(path)


def shown(command: Sequence[str]) -> str:
    """Write a command as a shell takes it."""
    return shlex.join(command)
