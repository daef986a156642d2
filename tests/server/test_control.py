"""What is said when the SuperLink cannot be asked."""

from __future__ import annotations

from pathlib import Path
from socket import create_server

import pytest

from common.deployment.ports import LOOPBACK
from common.errors import DeploymentError
from common.trust import Authority, server_certificate
from server.deployment.control import ask_superlink
from server.deployment.settings import CoordinatorFile
from server.deployment.setup import make_coordinator

HOST = "fed.example.org"


@pytest.fixture
def settings() -> CoordinatorFile:
    """Where nothing listens."""
    with create_server((LOOPBACK, 0)) as taken:
        port = taken.getsockname()[1]
    return CoordinatorFile(host=HOST, flower_port=port)


@pytest.fixture
def folder(tmp_path: Path, settings: CoordinatorFile) -> Path:
    made = tmp_path / "coordinator"
    make_coordinator(made, settings)
    return made


def test_a_coordinator_that_is_not_there_is_to_be_started(
    folder: Path, settings: CoordinatorFile
) -> None:
    with pytest.raises(DeploymentError, match="does not answer .*; dermafed coordinator start$"):
        ask_superlink(folder, settings)


def test_an_expired_certificate_is_named_with_what_to_do(
    folder: Path, settings: CoordinatorFile
) -> None:
    authority = Authority(
        (folder / "authority.pem").read_bytes(), (folder / "authority.key").read_bytes()
    )
    expired, _ = server_certificate(authority, (HOST,), days=0)
    (folder / "server.pem").write_bytes(expired)
    with pytest.raises(DeploymentError, match=r"certificate of .* valid from .*--renew-"):
        ask_superlink(folder, settings)
