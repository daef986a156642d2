"""The reverse proxy, a real one: what reaches Flower's SuperLink, and what never does."""

from __future__ import annotations

import http.client
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.deployment.ports import LOOPBACK
from common.errors import SettingsError
from common.trust import new_authority
from server.deployment.programs import AUTHORITY, SECRET
from server.deployment.proxy import proxy_configuration, write_proxy_configuration
from server.deployment.settings import CoordinatorFile
from server.deployment.setup import make_coordinator
from tests.server import proxy_door
from tests.server.proxy_door import Door


@pytest.fixture(scope="module")
def nginx() -> str:
    path = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if path is None:
        pytest.skip("nginx is not installed")
    return path


@pytest.fixture(scope="module")
def door(nginx: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    # A space in a folder's name is a person's good right.
    with proxy_door.door(nginx, tmp_path_factory.mktemp("a coordinator") / "folder") as opened:
        yield opened


@pytest.fixture(autouse=True)
def _forget(request: pytest.FixtureRequest) -> None:
    if "door" in request.fixturenames:
        request.getfixturevalue("door").backend.seen.clear()


@pytest.mark.parametrize("listen", ["0.0.0.0", "::", "[::1]", "192.0.2.1"])
def test_nginx_accepts_the_configuration(nginx: str, tmp_path: Path, listen: str) -> None:
    folder = tmp_path / "a folder; of {odd} name's"
    settings = CoordinatorFile(host="fed.example.org", listen=listen)
    make_coordinator(folder, settings)
    configuration = write_proxy_configuration(folder, settings)
    # `-t` opens no port, but looks whether it could: only such as this machine has.
    text = configuration.read_text(encoding="utf-8").replace("192.0.2.1", LOOPBACK)
    configuration.write_text(text, encoding="utf-8")
    done = subprocess.run(
        [nginx, "-t", "-p", str(folder), "-e", "stderr", "-c", str(configuration)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr
    assert "[emerg]" not in done.stderr


def test_the_configuration_holds_no_secret_and_names_loopback_for_flower(tmp_path: Path) -> None:
    settings = CoordinatorFile(host="fed.example.org", port=9000, flower_port=9001)
    make_coordinator(tmp_path / "c", settings)
    text = proxy_configuration(tmp_path / "c", settings)
    assert "listen 0.0.0.0:9000 ssl;" in text
    passed_on = [line.strip() for line in text.splitlines() if "proxy_pass " in line.split("#")[0]]
    assert passed_on == ["proxy_pass https://127.0.0.1:9001/v1/fleet/;"]
    assert SECRET not in text
    assert "PRIVATE KEY" not in text


@pytest.mark.parametrize("name", ['a"b', "a$b", "a\\b", "a\nb"])
def test_a_folder_that_nginx_cannot_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="nginx cannot read"):
        proxy_configuration(tmp_path / name, CoordinatorFile(host="fed.example.org"))


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("path", ["/v1/fleet/x", "/v1/fleet/pull-messages?a=b%2Fc", "/v1/fleet/"])
def test_the_fleet_api_is_reached(door: Door, path: str, method: str) -> None:
    assert door.ask(path, method) == (200, b"arrived")
    host = f"{LOOPBACK}:{door.settings.flower_port}"
    assert door.backend.seen == [(f"{method} {path} HTTP/1.1", host, b"content")]


OTHERS = [
    "/",
    "/v1/control/start-run",
    "/v1/runtime/x",
    "/v1/fleet",
    "/v1/fleetx/y",
    "/v1/fleet/../control/start-run",
    "/v1/fleet/../../v1/control/start-run",
    "/v1/fleet/./../control/start-run",
    "/v1/fleet/x/../../control/start-run",
    "/v1/fleet//../control/start-run",
    "//v1/control",
    "//v1//control//start-run",
    "/v1/fleet/%2e%2e/control/x",
    "/v1/fleet/%2E%2E%2Fcontrol/x",
    "/v1/fleet/..%2fcontrol%2fstart-run",
    "/v1/fleet/../control/start-run?x=/v1/fleet/",
    "/v1/control/start-run?/v1/fleet/",
    "/v1/control/start-run#/v1/fleet/",
    "/V1/Control",
    "/V1/FLEET/x",
    "/v1/fleet%00/../control/x",
    "/v1/fleet/%00",
    "/v1%2fcontrol%2fstart-run",
    "/health",
    "/openapi.json",
    "/docs",
    "/metrics",
    "/nginx_status",
    "*",
    "v1/fleet/x",
    "http://127.0.0.1/v1/control/start-run",
]


@pytest.mark.parametrize("path", OTHERS)
def test_nothing_else_ever_reaches_the_superlink(door: Door, path: str) -> None:
    status, _ = door.ask(path)
    assert status in {400, 403}
    assert door.backend.seen == []


@pytest.mark.parametrize(
    ("written", "arrives"),
    [
        ("/v1/control/../fleet/x", "/v1/fleet/x"),
        ("/v1/control/start-run/../../fleet/x", "/v1/fleet/x"),
        ("/v1/control/%2e%2e/fleet/x", "/v1/fleet/x"),
        ("//v1//fleet//x", "/v1/fleet/x"),
        ("/v1/fleet/x#/../../control/start-run", "/v1/fleet/x"),
        ("http://127.0.0.1/v1/fleet/x", "/v1/fleet/x"),
        # What is escaped twice stays escaped once: SuperLink does not take it for a folder.
        ("/v1/fleet/%252e%252e/control", "/v1/fleet/%252e%252e/control"),
        ("/v1/fleet/..%252fcontrol", "/v1/fleet/..%252fcontrol"),
        ("/v1/fleet/..;/control", "/v1/fleet/..;/control"),
        ("/v1/fleet/%5c..%5ccontrol", "/v1/fleet/%5C..%5Ccontrol"),
    ],
)
def test_what_arrives_is_the_path_that_was_checked_and_not_what_was_written(
    door: Door, written: str, arrives: str
) -> None:
    assert door.ask(written)[0] == 200
    ((line, _, _),) = door.backend.seen
    assert line == f"POST {arrives} HTTP/1.1"


def test_a_site_chooses_neither_the_host_nor_the_way_on(door: Door) -> None:
    # Starlette makes a request's address from its host.
    status, _ = door.ask("/v1/fleet/x", Host="x/v1/control/start-run?", Upgrade="h2c")
    assert status == 400
    assert door.ask("/v1/fleet/x", Host="elsewhere.example.org")[0] == 200
    ((_, host, _),) = door.backend.seen
    assert host == f"{LOOPBACK}:{door.settings.flower_port}"


def test_a_message_larger_than_flower_sends_is_refused_before_it_is_sent(door: Door) -> None:
    connection = door.connect()
    connection.putrequest("POST", "/v1/fleet/push-object")
    connection.putheader("Content-Length", str(65 * 2**20))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()
    assert door.backend.seen == []


def test_a_message_as_large_as_flowers_pieces_arrives_whole(door: Door) -> None:
    content = bytes(range(256)) * (20 * 2**20 // 256)
    connection = door.connect()
    connection.request("POST", "/v1/fleet/push-object", body=content)
    assert connection.getresponse().status == 200
    connection.close()
    ((_, _, arrived),) = door.backend.seen
    assert arrived == content


def test_a_message_is_passed_on_while_it_arrives_and_waits_on_no_disk(door: Door) -> None:
    door.backend.begun.clear()
    half = bytes(2**20)
    connection = door.connect()
    connection.putrequest("POST", "/v1/fleet/push-object")
    connection.putheader("Content-Length", str(2 * len(half)))
    connection.endheaders(half)
    assert door.backend.begun.wait(20.0)
    left = [path.name for path in (door.folder / "proxy").rglob("*") if path.is_file()]
    assert left == ["nginx.pid"]
    connection.send(half)
    assert connection.getresponse().status == 200
    connection.close()


def test_plain_http_is_refused(door: Door) -> None:
    connection = http.client.HTTPConnection(LOOPBACK, door.settings.port, timeout=20.0)
    connection.request("POST", "/v1/fleet/x", body=b"content")
    assert connection.getresponse().status == 400
    connection.close()
    assert door.backend.seen == []


def test_an_older_tls_is_refused(door: Door) -> None:
    context = ssl.create_default_context(cafile=str(door.folder / AUTHORITY))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError, match="(?i)version"):
        door.connect(context).connect()


def test_a_client_that_trusts_another_authority_refuses_the_door(door: Door) -> None:
    other = new_authority("other").certificate.decode()
    context = ssl.create_default_context(cadata=other)
    with pytest.raises(ssl.SSLCertVerificationError):
        door.connect(context).connect()


def test_a_backend_of_another_authority_is_not_believed(nginx: str, tmp_path: Path) -> None:
    with proxy_door.door(nginx, tmp_path / "c", new_authority("other")) as opened:
        assert opened.ask("/v1/fleet/x")[0] == 502
        assert opened.backend.seen == []
        log = (opened.folder / "proxy.log").read_text(encoding="utf-8")
    assert "certificate verify error" in log
