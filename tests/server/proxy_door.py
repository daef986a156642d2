"""A real nginx before a stand-in for Flower's SuperLink, and nothing left of either."""

from __future__ import annotations

import http.client
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import create_server

import psutil
import pytest

from common.deployment.ports import LOOPBACK, listens
from common.trust import Authority, server_certificate
from server.deployment.programs import AUTHORITY, CERTIFICATE, CERTIFICATE_KEY
from server.deployment.proxy import write_proxy_configuration
from server.deployment.settings import CoordinatorFile
from server.deployment.setup import make_coordinator


class Backend(ThreadingHTTPServer):
    """Stands for the SuperLink: notes each request, as it came."""

    daemon_threads = True

    def __init__(self, port: int, certificate: Path, key: Path) -> None:
        self.seen: list[tuple[str, str, bytes]] = []
        self.begun = threading.Event()
        super().__init__((LOOPBACK, port), _Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self.socket = context.wrap_socket(self.socket, server_side=True)

    def handle_error(self, request: object, client_address: object) -> None:
        """Keep quiet: of a proxy that does not trust this one, the handshake is broken off."""


class _Handler(BaseHTTPRequestHandler):
    server: Backend
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.server.begun.set()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.requestline, self.headers["Host"], body))
        self.send_response(200)
        self.send_header("Content-Length", "7")
        self.end_headers()
        self.wfile.write(b"arrived")

    do_GET = do_POST  # noqa: N815

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """Keep quiet."""


@dataclass
class Door:
    """A coordinator's folder, its proxy's address, and what is behind it."""

    folder: Path
    settings: CoordinatorFile
    backend: Backend

    def connect(self, context: ssl.SSLContext | None = None) -> http.client.HTTPSConnection:
        if context is None:
            context = ssl.create_default_context(cafile=str(self.folder / AUTHORITY))
        return http.client.HTTPSConnection(
            "localhost", self.settings.port, timeout=20.0, context=context
        )

    def ask(self, path: str, method: str = "POST", **headers: str) -> tuple[int, bytes]:
        connection = self.connect()
        try:
            connection.request(method, path, body=b"content", headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()


def free_ports(count: int) -> list[int]:
    sockets = [create_server((LOOPBACK, 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@contextmanager
def _running(nginx: str, folder: Path, settings: CoordinatorFile) -> Iterator[None]:
    """Run nginx as the coordinator does, and leave none of its processes."""
    configuration = write_proxy_configuration(folder, settings)
    with (folder / "proxy.log").open("wb") as log:
        process = psutil.Popen(
            [nginx, "-p", str(folder), "-e", "stderr", "-c", str(configuration)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    family: list[psutil.Process] = [process]
    try:
        for _ in range(400):
            if listens(settings.port):
                break
            with pytest.raises(psutil.TimeoutExpired):
                process.wait(0.05)
        family += process.children(recursive=True)
        yield
    finally:
        process.terminate()
        _, alive = psutil.wait_procs(family, 20.0)
        for one in alive:
            one.kill()
        psutil.wait_procs(alive, 20.0)
    assert alive == []
    assert not listens(settings.port)


@contextmanager
def door(nginx: str, folder: Path, trusted: Authority | None = None) -> Iterator[Door]:
    """Run a backend, and the proxy before it; its certificate is of the folder, or of another."""
    port, flower_port = free_ports(2)
    settings = CoordinatorFile(
        host="fed.example.org", listen=LOOPBACK, port=port, flower_port=flower_port
    )
    make_coordinator(folder, settings)
    certificate, key = folder / CERTIFICATE, folder / CERTIFICATE_KEY
    if trusted is not None:
        certificate, key = folder / "other.pem", folder / "other.key"
        for path, content in zip(
            (certificate, key), server_certificate(trusted, ("localhost",)), strict=True
        ):
            path.write_bytes(content)
    backend = Backend(flower_port, certificate, key)
    thread = threading.Thread(target=backend.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        with _running(nginx, folder, settings):
            yield Door(folder, settings, backend)
    finally:
        backend.shutdown()
        thread.join()
        backend.server_close()
