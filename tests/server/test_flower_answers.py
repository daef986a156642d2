"""What Flower's own programs answer a coordinator, and what it makes of silence."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from common.deployment.ports import LOOPBACK
from common.errors import DeploymentError
from common.trust import new_authority
from server.deployment import flower
from server.deployment.control import ask_superlink
from server.deployment.flower import flwr
from server.deployment.settings import CoordinatorFile
from tests.server.proxy_door import free_ports


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a script in the place of Flower's command."""
    path = tmp_path / "flwr"
    monkeypatch.setattr(flower, "program", lambda name: str(tmp_path / name))

    def write(body: str) -> None:
        path.write_text(f"#!{sys.executable}\nimport json, os, sys, time\n{body}\n", "utf-8")
        path.chmod(0o755)

    return write


def test_flwr_is_asked_over_the_coordinators_own_connection(tmp_path: Path, program: Any) -> None:
    program(
        "print(json.dumps({'success': True, 'asked': sys.argv[1:], "
        "'home': os.environ['FLWR_HOME'], 'telemetry': os.environ['FLWR_TELEMETRY_ENABLED']}))"
    )
    found = flwr(tmp_path, "supernode", "register", "a site.pub", "--name", "dias")
    assert found["asked"] == [
        *("supernode", "register", "a site.pub", "--name", "dias"),
        *("dermafed", "--format", "json"),
    ]
    assert (found["home"], found["telemetry"]) == (str(tmp_path / "flower"), "0")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "print(json.dumps({'success': False, 'error-message': 'key\\n is known'}))",
            "key is known",
        ),
        ("print('not JSON')", "not JSON"),
        ("print('{}')", "{}"),
        ("print('[]')", r"\[\]"),
        ("sys.stderr.write('x' * 9999 + ' the end'); sys.exit(2)", "x the end"),
        ("print(json.dumps({'success': True})); sys.exit(1)", '{"success": true}'),
        ("sys.exit(1)", "failed"),
    ],
)
def test_what_flwr_fails_with_is_told_in_one_short_line(
    tmp_path: Path, program: Any, body: str, said: str
) -> None:
    program(body)
    with pytest.raises(DeploymentError, match=f"^flwr supernode list: .*{said}$") as caught:
        flwr(tmp_path, "supernode", "list")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_flwr_that_does_not_answer_is_given_up(
    tmp_path: Path, program: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flower, "_LIMIT", 0.2)
    program("time.sleep(60)")
    with pytest.raises(DeploymentError, match=r"flwr run: no answer in 0\.2 s; is the coord"):
        flwr(tmp_path, "run", "bundle")


def test_a_superlink_that_is_not_there_is_named_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "authority.pem").write_bytes(new_authority("f").certificate)
    (port,) = free_ports(1)
    settings = CoordinatorFile(host="fed.example.org", flower_port=port)
    with pytest.raises(DeploymentError, match=f"{LOOPBACK}:{port}; dermafed coordinator start"):
        ask_superlink(tmp_path, settings)
