"""Weights files: brought or fetched, and never opened before their checksum is right."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from common.backbones import get_backbone
from common.backbones.weights import WEIGHTS_VARIABLE, PublishedFile, weights_folder
from common.errors import WeightsError
from common.feature_cache import CACHE_VARIABLE

CONTENT = b"some weights" * 1000
RIGHT = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(WEIGHTS_VARIABLE, str(tmp_path / "weights"))
    # A proxy of the environment cannot reach this machine's own server.
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "weights"


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def server(asked: list[str]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200 if "gone" not in self.path else 404)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[: 100 if "short" in self.path else None])

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as served:
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}/"
        served.shutdown()
        thread.join()


def test_the_folder_is_the_named_one_or_in_the_cache(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert weights_folder() == folder
    monkeypatch.delenv(WEIGHTS_VARIABLE)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    assert weights_folder() == tmp_path / "cache" / "weights"


def test_a_published_file_is_fetched_once(server: str, asked: list[str], folder: Path) -> None:
    file = PublishedFile("net.pth", f"{server}net.pth")
    assert file.status() == "to be fetched"
    assert file.verified("net", RIGHT) == folder / "net.pth"
    assert file.verified("net", RIGHT).read_bytes() == CONTENT
    assert asked == ["/net.pth"]
    assert file.status() == "file"


def test_a_file_that_was_brought_is_not_fetched(
    server: str, asked: list[str], folder: Path
) -> None:
    folder.mkdir()
    (folder / "net.pth").write_bytes(CONTENT)
    PublishedFile("net.pth", f"{server}net.pth").verified("net", RIGHT)
    assert asked == []


@pytest.mark.parametrize("content", [b"other weights", CONTENT[:-1], b""])
def test_a_brought_file_of_another_checksum_is_refused_and_left(
    server: str, asked: list[str], folder: Path, content: bytes
) -> None:
    folder.mkdir()
    path = folder / "net.pth"
    path.write_bytes(content)
    match = rf"{path}: sha256 is [0-9a-f]{{64}}, expected {RIGHT}; remove it, and bring {server}"
    with pytest.raises(WeightsError, match=match):
        PublishedFile("net.pth", f"{server}net.pth").verified("net", RIGHT)
    assert path.read_bytes() == content
    assert asked == []


@pytest.mark.parametrize("wanted", [RIGHT[:-8] + "00000000", "0" * 64])
def test_what_is_fetched_with_another_checksum_is_not_kept(
    server: str, folder: Path, wanted: str
) -> None:
    """The last digits count as much as those that torchvision publishes in a file's name."""
    with pytest.raises(WeightsError, match=r"net\.pth: what http.* does not have the sha256"):
        PublishedFile("net.pth", f"{server}net.pth").verified("net", wanted)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("page", ["gone.pth", "short.pth"])
def test_what_cannot_be_fetched_is_to_be_brought(server: str, folder: Path, page: str) -> None:
    match = (
        rf"backbone net: its weights are not here and cannot be fetched \(\w+\); "
        rf"bring {server}{page} as {folder / page} \(sha256 {RIGHT}\)"
    )
    with pytest.raises(WeightsError, match=match):
        PublishedFile(page, f"{server}{page}").verified("net", RIGHT)
    assert not (folder / page).exists()


def test_a_server_that_is_not_there_is_told(server: str) -> None:
    nowhere = PublishedFile("net.pth", "http://127.0.0.1:1/net.pth")
    with pytest.raises(WeightsError, match=r"cannot be fetched \(ConnectionError\); bring"):
        nowhere.verified("net", RIGHT)


def test_a_folder_that_cannot_be_made_is_named(folder: Path, server: str) -> None:
    folder.touch()
    with pytest.raises(WeightsError, match=rf"{folder / 'net.pth'}: cannot write it"):
        PublishedFile("net.pth", f"{server}net.pth").verified("net", RIGHT)


def test_a_network_is_not_opened_before_its_checksum_is_right(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*_: Any, **__: Any) -> None:
        raise AssertionError("the file was opened")

    monkeypatch.setattr(torch, "load", opened)
    folder.mkdir()
    (folder / "resnet18-f37072fd.pth").write_bytes(b"other weights")
    with pytest.raises(WeightsError, match=r"resnet18-f37072fd\.pth: sha256 is .*, expected f370"):
        get_backbone("resnet18").load_network()
