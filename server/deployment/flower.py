"""What a coordinator asks of Flower's own ``flwr`` command, and reads of its answers."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from common.deployment.flower import CONNECTION, flower_environment, program
from common.errors import DeploymentError
from server.deployment.certificate import refuse_certificate
from server.deployment.programs import HOME

_LIMIT = 120.0
_UNAVAILABLE = "Connection to the SuperLink is unavailable"


def flwr(folder: Path, *arguments: str) -> dict[str, Any]:
    """Run ``flwr ARGUMENTS dermafed --format json``.

    Parameters
    ----------
    folder : Path
        Of the coordinator.
    *arguments : str
        The command and its own arguments, before the connection's name.

    Returns
    -------
    dict
        What it prints.

    Raises
    ------
    DeploymentError
        If it fails, with what it says.
    """
    command = flwr_command(*arguments)
    try:
        done = subprocess.run(  # noqa: S603 -- our own program
            command,
            env={**os.environ, **flower_environment(folder / HOME)},
            capture_output=True,
            text=True,
            check=False,
            timeout=_LIMIT,
            # Ctrl-C in the terminal is for the command that asks.
            start_new_session=True,
        )
    except subprocess.TimeoutExpired as error:
        raise DeploymentError(
            f"flwr {arguments[0]}: no answer in {_LIMIT:g} s; is the coordinator running?"
        ) from error
    try:
        answer = json.loads(done.stdout)
    except json.JSONDecodeError:
        answer = None
    found: dict[str, Any] = answer if isinstance(answer, dict) else {}
    if done.returncode or not found.get("success", False):
        refuse_certificate(folder)
        said = found.get("error-message") or done.stderr or done.stdout
        line = " ".join(str(said).split())[-500:]
        if _UNAVAILABLE in line:
            raise DeploymentError("the coordinator does not answer; dermafed coordinator start")
        raise DeploymentError(f"flwr {' '.join(arguments[:2])}: {line or 'failed'}")
    return found


def flwr_command(*arguments: str) -> tuple[str, ...]:
    """Give the whole command."""
    return (program("flwr"), *arguments, CONNECTION, "--format", "json")
