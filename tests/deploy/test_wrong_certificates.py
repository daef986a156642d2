"""A site's real SuperNode before a server that is not its coordinator: not a byte is sent."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from client.deployment.programs import AUTHORITY, KEY, SECRET, supernode_command
from client.deployment.settings import Membership, SiteFile
from common.deployment.flower import flower_environment
from common.trust import (
    Authority,
    new_authority,
    new_site_key,
    server_certificate,
    write_private,
    write_public,
)

pytestmark = pytest.mark.timeout(300)


class Listener:
    """A server of TLS that notes what it is sent, and answers nothing."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificate, key)
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._door.getsockname()[1]
        self.callers, self.received = 0, b""

    @contextmanager
    def listening(self) -> Iterator[None]:
        thread = threading.Thread(target=self._serve)
        thread.start()
        try:
            yield
        finally:
            # What waits in `accept` is woken by this, and by `close` alone is not.
            self._door.shutdown(socket.SHUT_RDWR)
            self._door.close()
            thread.join()

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self._door.accept()
            except OSError:
                return
            self.callers += 1
            caller.settimeout(20.0)
            try:
                with self._context.wrap_socket(caller, server_side=True) as secure:
                    self.received += secure.recv(1000)
            # The caller refuses the certificate, or goes.
            except OSError:
                caller.close()


def _certificate(what: str, ours: Authority) -> tuple[bytes, bytes]:
    if what == "expired":
        return server_certificate(ours, ("localhost",), days=0)
    if what == "of another authority":
        # Of the same name, too.
        return server_certificate(new_authority("dermafed"), ("localhost",))
    return server_certificate(ours, ("localhost",))


@pytest.mark.parametrize("what", ["right", "expired", "of another authority"])
def test_a_supernode_sends_nothing_to_a_server_whose_certificate_is(
    what: str, tmp_path: Path
) -> None:
    ours = new_authority("dermafed")
    certificate, key = _certificate(what, ours)
    write_public(tmp_path / "server.pem", certificate)
    write_private(tmp_path / "server.key", key)
    folder = tmp_path / "site"
    private, _ = new_site_key("dias")
    write_private(folder / KEY, private)
    write_private(folder / SECRET, bytes(32))
    write_public(folder / AUTHORITY, ours.certificate)
    listener = Listener(tmp_path / "server.pem", tmp_path / "server.key")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        own_port = probe.getsockname()[1]
    membership = Membership(
        address=f"localhost:{listener.port}",
        authority=ours.certificate.decode(),
        bundle="0" * 64,
        code="0" * 64,
    )
    site = SiteFile(site="dias", cohort=tmp_path, port=own_port, membership=membership)
    with listener.listening():
        done = subprocess.run(
            [*supernode_command(folder, site), "--max-retries", "0"],
            env={**os.environ, **flower_environment(folder / "flower")},
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
        )
    assert done.returncode != 0
    assert listener.callers > 0
    if what == "right":
        # The request that would have come: it has the site's public key and signature.
        assert listener.received.startswith(b"POST /v1/fleet/")
    else:
        assert listener.received == b""
        assert "CERTIFICATE_VERIFY_FAILED" in done.stdout + done.stderr
