"""A coordinator's programs: Flower's SuperLink and SuperExec, the reverse proxy, the page."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import tomli_w

from common.deployment.flower import CONNECTION, flower_environment, program
from common.deployment.ports import LOOPBACK, meanings_of_taken
from common.deployment.supervisor import Service
from common.errors import DeploymentError
from server.deployment.proxy import write_proxy_configuration
from server.deployment.settings import COORDINATOR_FILE, CoordinatorFile

AUTHORITY, AUTHORITY_KEY = "authority.pem", "authority.key"
CERTIFICATE, CERTIFICATE_KEY = "server.pem", "server.key"
SECRET, DATABASE, BUNDLE, HOME = "superexec.secret", "superlink.db", "bundle", "flower"

_ON_LOOPBACK = (LOOPBACK, "0.0.0.0")  # noqa: S104 -- where sites may come in


def coordinator_services(folder: Path, settings: CoordinatorFile) -> tuple[Service, ...]:
    """Give a coordinator's programs, in the order of their start.

    Parameters
    ----------
    folder : Path
        Of the coordinator, absolute.
    settings : CoordinatorFile
        Its settings.

    Raises
    ------
    DeploymentError
        If nginx is not there.
    """
    environment = flower_environment(folder / HOME)
    file = folder / COORDINATOR_FILE
    port, flower, page = (f"{name} in {file}" for name in ("port", "flower_port", "page_port"))
    services = [
        Service(
            "superlink",
            _that_waits(superlink_command(folder, settings)),
            environment,
            port=settings.flower_port,
            meanings=meanings_of_taken(settings.flower_port, flower),
            port_setting=flower,
        ),
        Service("superexec", superexec_command(folder, settings), environment),
        Service(
            "page",
            (sys.executable, "-m", "server.deployment", str(folder)),
            environment,
            port=settings.page_port,
            meanings=meanings_of_taken(settings.page_port, page),
            port_setting=page,
        ),
    ]
    if settings.nginx:
        nginx = shutil.which(settings.nginx) or shutil.which(settings.nginx, path="/usr/sbin")
        if nginx is None:
            raise DeploymentError(
                f"{settings.nginx}: not installed. Install nginx (Debian: apt-get install "
                "nginx-light), or set up a proxy of your own and write nginx = '' in "
                "coordinator.toml"
            )
        configuration = write_proxy_configuration(folder, settings)
        services.append(
            Service(
                "proxy",
                (nginx, "-p", str(folder), "-e", "stderr", "-c", str(configuration)),
                environment,
                # The supervisor looks on loopback; nothing waits for what is started last.
                port=settings.port if settings.listen in _ON_LOOPBACK else 0,
                meanings=meanings_of_taken(settings.port, port),
                port_setting=port,
            )
        )
    return tuple(services)


def _that_waits(command: tuple[str, ...]) -> tuple[str, ...]:
    """Run Flower's command in a program whose database waits longer for its turn."""
    return (sys.executable, "-m", "server.deployment.superlink", *command[1:])


def superlink_command(folder: Path, settings: CoordinatorFile) -> tuple[str, ...]:
    """Give Flower's command for the SuperLink."""
    return (
        program("flower-superlink"),
        *("--ssl-certfile", str(folder / CERTIFICATE)),
        *("--ssl-keyfile", str(folder / CERTIFICATE_KEY)),
        *("--ssl-ca-certfile", str(folder / AUTHORITY)),
        # A ServerApp of its own process outlives a SuperLink that crashes.
        *("--isolation", "process"),
        *("--database", str(folder / DATABASE)),
        "--enable-supernode-auth",
        *("--superexec-auth-secret-file", str(folder / SECRET)),
        *("--host", LOOPBACK),
        *("--port", str(settings.flower_port)),
        "--disable-runtime-dependency-installation",
    )


def superexec_command(folder: Path, settings: CoordinatorFile) -> tuple[str, ...]:
    """Give Flower's command for the SuperExec, which starts ServerApps."""
    return (
        program("flower-superexec"),
        *("--runtime-api-address", f"{LOOPBACK}:{settings.flower_port}"),
        *("--root-certificates", str(folder / AUTHORITY)),
        *("--superexec-auth-secret-file", str(folder / SECRET)),
    )


def write_connection(folder: Path, settings: CoordinatorFile) -> None:
    """Write the configuration by which the ``flwr`` command finds this SuperLink."""
    home = folder / HOME
    home.mkdir(parents=True, exist_ok=True)
    connection = {
        "address": f"{LOOPBACK}:{settings.flower_port}",
        "root-certificates": str(folder / AUTHORITY),
    }
    text = tomli_w.dumps({"superlink": {"default": CONNECTION, CONNECTION: connection}})
    (home / "config.toml").write_text(text, encoding="utf-8")
