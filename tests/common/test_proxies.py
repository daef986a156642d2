"""Programs of one machine talk to each other directly, whatever proxy its user has set."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.request import getproxies

import httpx
import pytest

from common.deployment.proxies import direct_on_loopback, proxy_of

PROXY = "http://proxy.hospital.example:3128"
VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def _no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def own_port() -> Iterator[int]:
    """A program's port on loopback, which answers everything."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_a_program_on_loopback_is_reached_though_there_is_a_proxy(
    monkeypatch: pytest.MonkeyPatch, own_port: int
) -> None:
    # Nobody listens on port 1.
    for name in VARIABLES[:3]:
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    address = f"http://127.0.0.1:{own_port}/v1/runtime/push-object"
    with pytest.raises(httpx.ConnectError):
        httpx.post(address)
    for name, value in direct_on_loopback({}).items():
        monkeypatch.setenv(name, value)
    assert httpx.post(address).status_code == 204


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_exceptions_that_are_set_already_stay(name: str) -> None:
    found = direct_on_loopback({name: "pacs.hospital.example, 127.0.0.1"})
    expected = "pacs.hospital.example,127.0.0.1,::1,localhost"
    assert found == {"no_proxy": expected, "NO_PROXY": expected}
    assert direct_on_loopback(found) == found


def test_the_way_out_is_through_the_proxy_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert proxy_of("fed.example.org") is None
    monkeypatch.setenv("HTTP_PROXY", "http://other.example:80")
    assert proxy_of("fed.example.org") is None
    monkeypatch.setenv("ALL_PROXY", "http://last.example:80")
    assert proxy_of("fed.example.org") == "http://last.example:80"
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    assert getproxies()["https"] == PROXY
    assert proxy_of("fed.example.org") == PROXY
    monkeypatch.setenv("NO_PROXY", "fed.example.org")
    assert proxy_of("fed.example.org") is None
    monkeypatch.setenv("HTTPS_PROXY", "proxy.hospital.example:3128")
    assert proxy_of("elsewhere.example") == PROXY
