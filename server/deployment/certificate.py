"""Why a coordinator that runs cannot be asked: its own certificate."""

from __future__ import annotations

from pathlib import Path

from common.deployment.ports import LOOPBACK
from common.errors import DeploymentError, TrustError
from common.trust import check_certificate
from server.deployment.programs import AUTHORITY, CERTIFICATE


def refuse_certificate(folder: Path) -> None:
    """Say what is wrong with the certificate, after nothing has answered.

    Parameters
    ----------
    folder : Path
        Of the coordinator.

    Raises
    ------
    DeploymentError
        If the certificate is not valid now.
    """
    paths = folder / CERTIFICATE, folder / AUTHORITY
    if not all(path.is_file() for path in paths):
        return
    try:
        check_certificate(paths[0].read_bytes(), paths[1].read_bytes(), LOOPBACK)
    except TrustError as error:
        raise DeploymentError(
            f"the coordinator cannot be asked: {error}; dermafed coordinator stop, then start "
            "--renew-certificate"
        ) from error
