"""Fetching HAM10000 from an imitation of the Dataverse on this machine."""

from __future__ import annotations

import hashlib
import io
import json
import random
import re
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from common.cohort import load_cohort
from common.errors import SourceError
from common.sources import dataverse
from common.sources.fetch import DOWNLOADS, ImageArchive, Source, fetch_ham10000

DOI = "10.1/TEST"
ROWS = 4
PIECE = 1 << 16  # what `download` reads at a time
PARTS = ("HAM10000_images_part_1", "HAM10000_images_part_2")
MASKS = "HAM10000_segmentations_lesion_tschandl"
ARCHIVES = (ImageArchive(PARTS[0], 2), ImageArchive(PARTS[1], 2), ImageArchive(MASKS, ROWS, True))
SOURCE = Source(DOI, ROWS, ARCHIVES)
HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization,dataset"
TABLE = "\n".join(
    [HEADER, *(f"HAM_{i},ISIC_{i},nv,histo,{40 + i}.0,male,back,rosendahl" for i in range(ROWS))]
)


def _archive(names: list[str], folder: str = "") -> bytes:
    noise, stream = random.Random(0), io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(f"{folder}{name}", noise.randbytes(100_000))
        archive.writestr(f"__MACOSX/{folder}._{names[0]}", b"clutter")
    return stream.getvalue()


def _file(key: int, label: str, content: bytes, **original: Any) -> dict[str, Any]:
    checksum = {"type": "MD5", "value": hashlib.md5(content).hexdigest()}
    values = {"id": key, "filename": label, "filesize": len(content), "checksum": checksum}
    return {"label": label, "restricted": False, "dataFile": {**values, **original}}


@dataclass
class Imitation:
    """What the server offers, how it misbehaves, and what it was asked."""

    content: dict[int, bytes]
    files: list[dict[str, Any]]
    address: str = ""
    ranges: str = "honoured"
    drop_at: dict[int, int] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    stall: threading.Event | None = None
    redirect: str = "/storage/"
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    sent: int = 0

    def asked(self, part: str) -> list[str | None]:
        return [wanted for path, wanted in self.requests if part in path]


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        it = self.server.it
        it.requests.append((self.path, self.headers["Range"]))
        if it.stall is not None:
            it.stall.wait(10)
        refusals = [status for part, status in it.statuses.items() if part in self.path]
        key, query = re.findall(r"/(\d*)(\?.*|)$", self.path)[0]
        if refusals:
            self.answer(refusals[0])
        elif self.path == f"/api/datasets/:persistentId/?persistentId=doi:{DOI}":
            data = {"latestVersion": {"versionNumber": 4, "files": it.files}}
            self.answer(200, json.dumps({"status": "OK", "data": data}).encode())
        elif self.path.startswith("/api/access/datafile/"):
            self.answer(303, Location=f"{it.redirect}{key}{query}")
        else:
            ingested = "originalFileFormat" in it.files[int(key)]["dataFile"]
            content = it.content[int(key)]
            original = query == "?format=original" or not ingested
            self.send_content(int(key), content if original else content.replace(b",", b"\t"))

    def send_content(self, key: int, content: bytes) -> None:
        it, start = self.server.it, int((self.headers["Range"] or "bytes=0-")[6:-1])
        if start and it.ranges == "416":
            return self.answer(416)
        start = {"honoured": start, "other": max(start - 10, 0)}.get(it.ranges, 0)
        body = content[start : it.drop_at.pop(key, len(content))]
        it.sent += len(body)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(body)
        return None


class _Server(ThreadingHTTPServer):
    it: Imitation

    def handle_error(self, *_: Any) -> None:
        """Clients that go away are part of the tests."""


@pytest.fixture
def it() -> Iterator[Imitation]:
    table, masks = TABLE.encode(), [f"ISIC_{i}_segmentation.png" for i in range(ROWS)]
    images = [_archive([f"ISIC_{i}.jpg", f"ISIC_{i + 1}.jpg"]) for i in (0, 2)]
    content = dict(enumerate([table, *images, _archive(masks, f"{MASKS}/")]))
    original = {"originalFileFormat": "text/csv", "originalFileSize": len(table), "filesize": 9}
    name = {"originalFileName": "HAM10000_metadata.csv"}
    files = [_file(0, "HAM10000_metadata-1.tab", table, **original, **name)]
    files += [_file(i, f"{n}.zip", content[i]) for i, n in enumerate((*PARTS, MASKS), start=1)]
    # Other servers publish other checksums; older ones have another field.
    sha = {"type": "SHA-256", "value": hashlib.sha256(content[2]).hexdigest()}
    files[2]["dataFile"]["checksum"] = sha
    files[3]["dataFile"]["md5"] = files[3]["dataFile"].pop("checksum")["value"]
    imitation = Imitation(content, files)
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.it = imitation
        imitation.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield imitation
        server.shutdown()
        thread.join()


def _quiet(_name: str, _done: int, _total: int) -> None:
    pass


def _fetch(it: Imitation, folder: Path, progress: Callable[[str, int, int], None] = _quiet) -> None:
    fetch_ham10000(folder, accept_licence=True, server=it.address, progress=progress, source=SOURCE)


def _downloads(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / DOWNLOADS).iterdir())


def test_everything_arrives_in_the_official_layout_and_once(it: Imitation, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    folder = tmp_path / "new" / "ham"
    _fetch(it, folder, lambda *args: told.append(args))
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["HAM10000_metadata.csv", *PARTS, MASKS]
    )
    cohort = load_cohort(folder)
    assert (len(cohort), cohort.sites) == (ROWS, ("rosendahl",))
    assert all(mask is not None and mask.parent.name == MASKS for mask in cohort.mask)
    assert it.sent == sum(map(len, it.content.values()))
    size = len(it.content[1])
    of_part = [row for row in told if row[0] == f"{PARTS[0]}.zip"]
    assert of_part == sorted(of_part)
    assert (of_part[0], of_part[-1]) == ((of_part[0][0], 0, size), (of_part[0][0], size, size))
    assert (PARTS[0], 200_000, 200_000) in told

    it.requests.clear()
    _fetch(it, folder)
    assert it.requests == []


def test_without_the_licence_nothing_is_asked(it: Imitation, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"CC BY-NC 4\.0.*pass --accept-licence"):
        fetch_ham10000(tmp_path, accept_licence=False, server=it.address, progress=_quiet)
    assert it.requests == []
    assert list(tmp_path.iterdir()) == []


def test_a_dropped_connection_is_resumed_where_it_broke(it: Imitation, tmp_path: Path) -> None:
    it.drop_at[1] = 2 * PIECE
    with pytest.raises(SourceError, match=r"datafile/1: .*it goes on where this one stopped"):
        _fetch(it, tmp_path)
    assert _downloads(tmp_path) == [f"{PARTS[0]}.zip.part"]
    _fetch(it, tmp_path)
    assert it.asked("/storage/1") == [None, f"bytes={2 * PIECE}-"]
    assert it.asked("/storage/0") == [None]
    assert it.sent == sum(map(len, it.content.values()))
    assert len(load_cohort(tmp_path)) == ROWS


@pytest.mark.parametrize("ranges", ["ignored", "416", "other"])
def test_a_server_that_cannot_resume_starts_anew(
    it: Imitation, tmp_path: Path, ranges: str
) -> None:
    it.ranges, it.drop_at[2] = ranges, PIECE
    with pytest.raises(SourceError, match="datafile/2"):
        _fetch(it, tmp_path)
    _fetch(it, tmp_path)
    assert it.asked("/storage/2") == [None, f"bytes={PIECE}-", None]
    assert len(load_cohort(tmp_path)) == ROWS


def test_ctrl_c_leaves_parts_that_are_resumed(
    it: Imitation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(name: str, done: int, _total: int) -> None:
        if name == f"{PARTS[0]}.zip" and done >= PIECE:
            raise KeyboardInterrupt

    def interrupt_hash(*_args: Any, **_kwargs: Any) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _fetch(it, tmp_path, interrupt)
    assert _downloads(tmp_path) == [f"{PARTS[0]}.zip.part"]
    with monkeypatch.context() as patch:
        patch.setattr("pooch.core.hash_matches", interrupt_hash)
        with pytest.raises(KeyboardInterrupt):
            _fetch(it, tmp_path)
    assert _downloads(tmp_path) == [f"{PARTS[0]}.zip.part"]
    _fetch(it, tmp_path)
    assert it.asked("/storage/1") == [None, f"bytes={PIECE}-"]
    assert len(load_cohort(tmp_path)) == ROWS


def test_a_wrong_checksum_removes_the_file(it: Imitation, tmp_path: Path) -> None:
    right = it.content[1]
    it.content[1] = bytes(len(right))
    with pytest.raises(SourceError, match=rf"{PARTS[0]}\.zip: .*published checksum md5:"):
        _fetch(it, tmp_path)
    assert _downloads(tmp_path) == []
    it.content[1] = right + b"more"
    with pytest.raises(SourceError, match=rf"{PARTS[0]}\.zip: .* gives more than"):
        _fetch(it, tmp_path)
    assert _downloads(tmp_path) == []
    it.content[1] = right
    _fetch(it, tmp_path)
    assert len(load_cohort(tmp_path)) == ROWS


@pytest.mark.parametrize("status", [202, 404, 503])
@pytest.mark.parametrize("part", ["/api/datasets", "/api/access/datafile/0", "/storage/1"])
def test_refusals_name_the_address(it: Imitation, tmp_path: Path, part: str, status: int) -> None:
    it.statuses[part] = status
    with pytest.raises(SourceError, match=rf"{it.address}/api/.*answers {status} .*goes on"):
        _fetch(it, tmp_path)


def test_no_server_and_a_silent_one(
    it: Imitation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataverse, "_TIMEOUTS_S", (0.2, 0.2))
    it.stall = threading.Event()
    with pytest.raises(SourceError, match=rf"{it.address}/api.* \(ReadTimeout\).*goes on"):
        _fetch(it, tmp_path)
    it.stall.set()
    it.address = "http://127.0.0.1:9"
    with pytest.raises(SourceError, match=r"127\.0\.0\.1:9/api.* \(ConnectionError\).*goes on"):
        _fetch(it, tmp_path)


@pytest.mark.parametrize("address", ["http://example.org", "ftp://127.0.0.1", "https://"])
def test_only_https_is_asked(it: Imitation, tmp_path: Path, address: str) -> None:
    it.redirect = f"{address}/"
    with pytest.raises(SourceError, match=f"{address}.*only https"):
        _fetch(it, tmp_path)
    it.address = address
    with pytest.raises(SourceError, match=f"{address}.*only https"):
        _fetch(it, tmp_path)


def test_what_is_no_dataverse_is_told(it: Imitation, tmp_path: Path) -> None:
    it.files = [{"label": "x"}]
    with pytest.raises(SourceError, match=r"persistentId.*not the file list .*files\.0\.dataFile"):
        _fetch(it, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told(it: Imitation, tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    (tmp_path / DOWNLOADS).mkdir()
    (tmp_path / DOWNLOADS / "HAM10000_metadata.csv.part").symlink_to("/dev/full")
    with pytest.raises(SourceError, match=r"metadata\.csv\.part: the disk is full.*goes on"):
        _fetch(it, tmp_path)
