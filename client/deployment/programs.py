"""The two programs of a site: Flower's SuperNode, and the worker that answers."""

from __future__ import annotations

import sys
from pathlib import Path

from client.deployment.settings import SITE_FILE, SiteFile
from common.deployment.flower import flower_environment, program
from common.deployment.ports import LOOPBACK, meanings_of_taken
from common.deployment.supervisor import Service
from common.errors import DeploymentError

KEY, PUBLIC_KEY, SECRET, AUTHORITY = "site.key", "site.pub", "worker.secret", "authority.pem"

_MEANINGS = {
    "CERTIFICATE_VERIFY_FAILED": (
        "the coordinator's certificate is not this federation's, or has expired"
    ),
    "Exit Code: 305": (
        "the coordinator refused it: its key is not registered there, or was removed and needs "
        "dermafed site new-key, or an earlier start of it is still taken to be online, for a minute"
    ),
}


def site_services(folder: Path, site: SiteFile) -> tuple[Service, ...]:
    """Give a site's programs, in the order of their start.

    Raises
    ------
    DeploymentError
        If the site has not joined.
    """
    environment = flower_environment(folder / "flower")
    port, metrics_port = (f"{name} in {folder / SITE_FILE}" for name in ("port", "metrics_port"))
    worker = (sys.executable, "-m", "client.deployment", str(folder))
    threads = {"OMP_NUM_THREADS": str(site.threads)} if site.threads else {}
    return (
        Service(
            "supernode",
            _that_ends(supernode_command(folder, site)),
            environment,
            port=site.port,
            meanings={**_MEANINGS, **meanings_of_taken(site.port, port)},
            port_setting=port,
        ),
        Service(
            "worker",
            worker,
            {**environment, **threads},
            meanings=meanings_of_taken(site.metrics_port, metrics_port),
        ),
    )


def _that_ends(command: tuple[str, ...]) -> tuple[str, ...]:
    """Run Flower's command in a program that ends when Flower gives up."""
    return (sys.executable, "-m", "client.deployment.supernode", *command[1:])


def supernode_command(folder: Path, site: SiteFile) -> tuple[str, ...]:
    """Give Flower's command.

    Raises
    ------
    DeploymentError
        If the site has not joined.
    """
    if site.membership is None:
        raise DeploymentError(f"{folder}: has not joined; run dermafed site join INVITATION")
    return (
        program("flower-supernode"),
        *("--superlink", site.membership.address),
        *("--root-certificates", str(folder / AUTHORITY)),
        *("--auth-supernode-private-key", str(folder / KEY)),
        *("--isolation", "process"),
        *("--host", LOOPBACK),
        *("--port", str(site.port)),
        *("--superexec-auth-secret-file", str(folder / SECRET)),
    )
