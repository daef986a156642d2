"""A site whose only way out is an HTTP proxy, which alone can resolve the coordinator's name."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from client.deployment.checkup import check_site
from common.trust import Authority, new_authority, server_certificate
from tests.deploy.conftest import DERMAFED, LEARNER, SITES, Federation, same_model, wait_until
from tests.deploy.hostile_site import members_and_left_out
from tests.deploy.listener import call_once, joined_site, listener_with

pytestmark = pytest.mark.timeout(300)
HOST = "coordinator.example"


class Proxy:
    """Opens tunnels to one name, and notes what it is asked."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._door = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._door.getsockname()[1]}"
        self.asked: list[bytes] = []

    @contextmanager
    def tunnelling(self) -> Iterator[None]:
        thread = threading.Thread(target=self._serve)
        thread.start()
        try:
            yield
        finally:
            self._door.shutdown(socket.SHUT_RDWR)
            self._door.close()
            thread.join()

    def _serve(self) -> None:
        threads = []
        while True:
            try:
                caller, _ = self._door.accept()
            except OSError:
                break
            threads.append(threading.Thread(target=self._tunnel, args=(caller,)))
            threads[-1].start()
        for thread in threads:
            thread.join()

    def _tunnel(self, caller: socket.socket) -> None:
        # Either end may go at any time.
        with caller, suppress(OSError):
            caller.settimeout(30.0)
            head = b""
            while b"\r\n\r\n" not in head:
                head += caller.recv(4096)
            self.asked.append(head)
            if not head.startswith(f"CONNECT {HOST}:".encode()):
                caller.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
                return
            with socket.create_connection(("127.0.0.1", self._port)) as server:
                caller.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                back = threading.Thread(target=_pump, args=(server, caller))
                back.start()
                _pump(caller, server)
                back.join()


def _pump(one: socket.socket, other: socket.socket) -> None:
    with suppress(OSError):
        one.settimeout(30.0)
        while data := one.recv(65_536):
            other.sendall(data)
        other.shutdown(socket.SHUT_WR)


def test_a_supernode_and_site_check_take_the_proxy_and_it_sees_no_more_than_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = new_authority("dermafed")
    listener = listener_with(tmp_path, *server_certificate(ours, (HOST,)))
    folder = tmp_path / "site"
    site = joined_site(folder, ours, f"{HOST}:8443")
    proxy = Proxy(listener.port)
    login = proxy.url.replace("//", "//clinic:s%20cret@")
    monkeypatch.setenv("HTTPS_PROXY", login)
    with listener.listening(), proxy.tunnelling():
        done = call_once(folder, site, {"HTTPS_PROXY": login})
        asked_by_flower = len(proxy.asked)
        found = {one.what: one for one in check_site(folder, site)}["coordinator"]
    assert done.returncode != 0
    # It came to the coordinator, over TLS that the proxy cannot open.
    assert listener.received.startswith(b"POST /v1/fleet/")
    # The listener tells no time.
    assert found.text.startswith("certificate is right, 397 days left")
    assert 0 < asked_by_flower < len(proxy.asked)
    for head in proxy.asked:
        # "clinic:s cret", in base64.
        assert b"Proxy-Authorization: Basic Y2xpbmljOnMgY3JldA==" in head
        assert b"dias" not in head


def test_a_proxy_that_refuses_is_named_with_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = new_authority("dermafed")
    site = joined_site(tmp_path / "site", ours, "elsewhere.example:8443")
    proxy = Proxy(1)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    with proxy.tunnelling():
        found = {one.what: one for one in check_site(tmp_path / "site", site)}["coordinator"]
    assert not found.right
    where = proxy.url.removeprefix("http://")
    assert f"through the proxy {where} of HTTPS_PROXY: " in found.text
    assert "403 Forbidden" in found.text


def _certify_name(federation: Federation) -> None:
    """Have the coordinator answer to the name that the proxy alone resolves, too."""
    folder = federation.coordinator
    authority = Authority(*((folder / f"authority.{end}").read_bytes() for end in ("pem", "key")))
    certificate, key = server_certificate(authority, ("localhost", HOST))
    (folder / "server.pem").write_bytes(certificate)
    (folder / "server.key").write_bytes(key)
    before = {name: federation.process(folder, name) for name in ("proxy", "superlink")}
    for process in before.values():
        process.kill()
    wait_until(
        lambda: all(federation.pid(folder, name) != process.pid for name, process in before.items())
    )


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_whole_run_goes_through_the_proxy_to_the_same_model(
    federation: Federation, trained: Path
) -> None:
    site, proxy = SITES[0], Proxy(federation.port)
    own = federation.site(site)
    _certify_name(federation)
    invitation = (own / f"{site}.invitation.toml").read_text(encoding="utf-8")
    direct, named = f"localhost:{federation.port}", f"{HOST}:{federation.port}"
    assert direct in invitation
    behind = own / "behind.invitation.toml"
    behind.write_text(invitation.replace(direct, named), encoding="utf-8")
    leave = (str(DERMAFED), "site", "leave", "--stop-only", "--folder", str(own))
    join = (str(DERMAFED), "site", "join", "--folder", str(own), "--detach")
    federation.call(*leave)
    with proxy.tunnelling():
        try:
            with_proxy = replace(
                federation, environment={**federation.environment, "HTTPS_PROXY": proxy.url}
            )
            joined = with_proxy.call(*join, str(behind))
            assert joined.returncode == 0, joined.stderr
            done = federation.run("behind", *LEARNER)
            asked = list(proxy.asked)
        finally:
            federation.call(*leave)
    back = federation.call(*join, str(own / f"{site}.invitation.toml"))
    assert back.returncode == 0, back.stderr
    assert done.returncode == 0, done.stderr
    assert members_and_left_out(federation.result("behind")) == (set(SITES), {})
    assert same_model(federation.result("behind"), trained)
    # Every request of the site, the model's included; without the proxy the name leads nowhere.
    assert len(asked) > 1
    assert all(head.startswith(f"CONNECT {named} ".encode()) for head in asked)
