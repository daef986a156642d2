"""A server of TLS that a site's real SuperNode calls, in the place of a coordinator."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from client.deployment.programs import AUTHORITY, KEY, SECRET, supernode_command
from client.deployment.settings import Membership, SiteFile
from common.deployment.flower import flower_environment
from common.trust import Authority, new_site_key, write_private, write_public


class Listener:
    """Notes what it is sent, and answers nothing."""

    def __init__(self, certificate: Path, key: Path, host: str) -> None:
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificate, key)
        self._door = socket.create_server((host, 0))
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


def listener_with(
    folder: Path, certificate: bytes, key: bytes, host: str = "127.0.0.1"
) -> Listener:
    """Make a listener of a certificate."""
    write_public(folder / "server.pem", certificate)
    write_private(folder / "server.key", key)
    return Listener(folder / "server.pem", folder / "server.key", host)


def joined_site(folder: Path, authority: Authority, address: str) -> SiteFile:
    """Make a site that has joined a coordinator at an address."""
    private, _ = new_site_key("dias")
    write_private(folder / KEY, private)
    write_private(folder / SECRET, bytes(32))
    write_public(folder / AUTHORITY, authority.certificate)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        own_port = probe.getsockname()[1]
    membership = Membership(
        address=address,
        authority=authority.certificate.decode(),
        bundle="0" * 64,
        code="0" * 64,
    )
    return SiteFile(site="dias", cohort=folder, port=own_port, membership=membership)


def call_once(
    folder: Path, site: SiteFile, environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Have a site's SuperNode call its coordinator, and give up when that does not answer."""
    return subprocess.run(
        [*supernode_command(folder, site), "--max-retries", "0"],
        env={**os.environ, **environment, **flower_environment(folder / "flower")},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
