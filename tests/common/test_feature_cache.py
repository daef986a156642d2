"""The feature cache: several writers, kills, full disks and damaged files."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import common.feature_cache
from common.backbones import Backbone
from common.errors import CacheError
from common.feature_cache import FeatureCache, default_cache, image_key
from common.transform import Transform

PROJECT = Path(__file__).parents[2]
TINY = Backbone("tiny", 12, "0" * 64, "CC0-1.0", "tiny_network", Transform(8, 0.5, 0.5))

# Opens the cache of the tiny backbone as `tiny_backbone` does.
CHILD = """
import sys
from pathlib import Path
import numpy as np
from common.backbones import Backbone
from common.feature_cache import FeatureCache, image_key
from common.transform import Transform

backbone = Backbone("tiny", 12, "0" * 64, "CC0-1.0", "tiny_network", Transform(8, 0.5, 0.5))
cache = FeatureCache(Path(sys.argv[1]), backbone)

def some(start, stop):
    return {image_key(b"%d" % i): np.full(12, i, dtype=np.float32) for i in range(start, stop)}
"""


def _some(start: int, stop: int) -> dict[bytes, NDArray[np.float32]]:
    return {image_key(b"%d" % i): np.full(12, i, dtype=np.float32) for i in range(start, stop)}


def _child(folder: Path, code: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD + code, str(folder)],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.fixture
def cache(tmp_path: Path, tiny_backbone: Backbone) -> FeatureCache:
    return FeatureCache(tmp_path / "cache", tiny_backbone)


def _assert_holds(cache: FeatureCache, expected: dict[bytes, NDArray[np.float32]]) -> None:
    found = cache.read(list(expected))
    assert found.keys() == expected.keys()
    assert all(found[key].tobytes() == expected[key].tobytes() for key in expected)


def test_what_is_written_is_read_bit_for_bit(cache: FeatureCache) -> None:
    values = np.array([0.1, -0.0, 1e-45, 3.4e38, *range(8)], dtype=np.float32)
    cache.write({image_key(b"a"): values})
    _assert_holds(cache, {image_key(b"a"): values})


def test_reading_an_absent_cache_finds_nothing_and_makes_nothing(cache: FeatureCache) -> None:
    assert cache.read([image_key(b"a")]) == {}
    assert not cache.path.parent.exists()


def test_only_what_is_there_is_found(cache: FeatureCache) -> None:
    cache.write(_some(0, 3))
    assert cache.read(list(_some(2, 5))).keys() == _some(2, 3).keys()
    assert cache.read([]) == {}


def test_more_keys_than_one_query_takes_are_read(cache: FeatureCache) -> None:
    cache.write(_some(0, 1201))
    _assert_holds(cache, _some(0, 1201))
    assert len(cache.read([*_some(0, 3)] * 500)) == 3


def test_what_is_there_already_stays(cache: FeatureCache) -> None:
    key = image_key(b"a")
    cache.write({key: np.zeros(12, dtype=np.float32)})
    cache.write({key: np.ones(12, dtype=np.float32)})
    _assert_holds(cache, {key: np.zeros(12, dtype=np.float32)})


def test_a_key_is_a_digest_of_the_bytes_alone() -> None:
    # From ``printf abc | b2sum -l 128`` of coreutils.
    assert image_key(b"abc").hex() == "cf4ab791c62b8d2b2109c90275287816"


def test_the_environment_names_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DERMAFED_CACHE", str(tmp_path / "mine"))
    assert default_cache() == tmp_path / "mine"
    monkeypatch.setenv("DERMAFED_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache().name == "dermafed"


def test_each_backbone_has_a_file_of_its_own(cache: FeatureCache) -> None:
    tiny = cache.backbone
    others = [
        replace(tiny, name="other"),
        replace(tiny, weights_sha256="1" * 64),
        replace(tiny, transform=replace(tiny.transform, size=9)),
        replace(tiny, dimension=13),
    ]
    paths = {FeatureCache(cache.path.parent, backbone).path for backbone in (tiny, *others)}
    assert len(paths) == 5


def test_the_cache_of_another_backbone_is_refused(cache: FeatureCache) -> None:
    cache.write(_some(0, 3))
    other = FeatureCache(cache.path.parent, replace(cache.backbone, weights_sha256="1" * 64))
    cache.path.rename(other.path)
    with pytest.raises(CacheError, match="made by another backbone or transform than tiny") as info:
        other.read(list(_some(0, 3)))
    assert str(info.value).startswith(f"{other.path}: ")
    with pytest.raises(CacheError, match="made by another"):
        other.write(_some(0, 1))


@pytest.mark.parametrize("content", [b"this is no database" * 100, b"SQLite format 3\0" * 100])
def test_a_file_that_is_no_cache_is_refused(cache: FeatureCache, content: bytes) -> None:
    cache.path.parent.mkdir()
    cache.path.write_bytes(content)
    for use in (lambda: cache.read(list(_some(0, 1))), lambda: cache.write(_some(0, 1))):
        with pytest.raises(CacheError, match=r"damaged .*; delete this file") as caught:
            use()
        assert str(caught.value).startswith(f"{cache.path}: ")
    assert cache.path.read_bytes() == content


@settings(deadline=None, max_examples=40)
@given(
    places=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=30),
    share=st.floats(0.05, 1),
)
def test_a_damaged_file_gives_a_cache_error_or_whole_features(
    tmp_path_factory: pytest.TempPathFactory,
    places: list[tuple[float, int]],
    share: float,
) -> None:
    cache = FeatureCache(tmp_path_factory.mktemp("cache"), TINY)
    cache.write(_some(0, 100))
    data = bytearray(cache.path.read_bytes())
    for place, value in places:
        data[int(place * (len(data) - 1))] = value
    cache.path.write_bytes(data[: int(share * len(data))])
    try:
        found = cache.read(list(_some(0, 100)))
    except CacheError as error:
        assert str(error).startswith(f"{cache.path}: ")  # noqa: PT017
    else:
        assert all(x.shape == (12,) and np.isfinite(x).all() for x in found.values())


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"abc",
        b"\0" * 44,
        b"\0" * 52,
        "text",
        7,
        np.full(12, np.nan, dtype=np.float32).tobytes(),
    ],
)
def test_a_feature_that_is_none_is_refused(cache: FeatureCache, value: object) -> None:
    cache.write(_some(0, 1))
    database = sqlite3.connect(cache.path)
    with database:
        database.execute("UPDATE feature SET x = ?", (value,))
    database.close()
    with pytest.raises(CacheError, match="holds a damaged feature; delete this file"):
        cache.read(list(_some(0, 1)))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, tiny_backbone: Backbone) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CacheError, match="cannot make it") as caught:
        FeatureCache(tmp_path / "file" / "cache", tiny_backbone).write(_some(0, 1))
    assert str(tmp_path / "file" / "cache") in str(caught.value)


def test_a_full_disk_keeps_what_was_stored(
    cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.write(_some(0, 50))

    def connect(*args: Any, **options: Any) -> sqlite3.Connection:
        database: sqlite3.Connection = sqlite3.connect(*args, **options)
        database.execute("PRAGMA max_page_count = 4")
        return database

    with monkeypatch.context() as patch:
        patch.setattr(common.feature_cache, "sqlite3", _Sqlite(connect))
        with pytest.raises(CacheError, match=r"the disk is full .* before is kept"):
            cache.write(_some(50, 5000))
    _assert_holds(cache, _some(0, 50))
    assert cache.read(list(_some(50, 5000))) == {}
    cache.write(_some(50, 60))
    _assert_holds(cache, _some(0, 60))


class _Sqlite:
    """The module `sqlite3` with another `connect`."""

    def __init__(self, connect: Callable[..., sqlite3.Connection]) -> None:
        self.connect = connect

    def __getattr__(self, name: str) -> Any:
        return getattr(sqlite3, name)


def test_a_file_that_may_not_grow_keeps_what_was_stored(cache: FeatureCache) -> None:
    """The operating system refuses the write, as it does on a disk that is full."""
    cache.write(_some(0, 50))
    size = cache.path.stat().st_size

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 4096, size + 4096))

    code = "from common.errors import CacheError\ntry:\n cache.write(some(50, 5000))\n"
    code += "except CacheError as error:\n print(error)\n"
    child = _child(cache.path.parent, code, preexec_fn=limit)
    told, _ = child.communicate()
    assert told.startswith(f"{cache.path}: the disk is full")
    assert child.returncode == 0
    _assert_holds(cache, _some(0, 50))
    cache.write(_some(50, 5000))
    _assert_holds(cache, _some(0, 5000))


def test_writers_at_once_leave_a_complete_cache(cache: FeatureCache) -> None:
    code = """
print("ready", flush=True)
sys.stdin.readline()
first = int(sys.argv[2])
for start in range(first, first + 400, 20):
    cache.write(some(start, start + 40))
"""
    children = []
    for first in (0, 200, 400):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD + code, str(cache.path.parent), str(first)],
            cwd=PROJECT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        children.append(child)
    for child in children:
        assert _line(child) == "ready"
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        child.communicate()
        assert child.returncode == 0
    _assert_holds(cache, _some(0, 820))


def test_a_writer_killed_in_a_transaction_leaves_what_was_stored(cache: FeatureCache) -> None:
    cache.write(_some(0, 50))
    code = """
import time
with cache._open() as database:
    database.execute("PRAGMA cache_size = 1")  # spills into the file before the commit
    rows = [(key, x.tobytes()) for key, x in some(50, 3000).items()]
    database.executemany("INSERT INTO feature VALUES (?, ?)", rows)
    print("written", flush=True)
    time.sleep(600)
"""
    before = cache.path.stat().st_size
    child = _child(cache.path.parent, code)
    try:
        assert _line(child) == "written"
        assert cache.path.stat().st_size > before, "nothing was spilled: the test means nothing"
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
    assert cache.read(list(_some(50, 3000))) == {}
    _assert_holds(cache, _some(0, 50))
    cache.write(_some(50, 3000))
    _assert_holds(cache, _some(0, 3000))


def test_a_file_left_empty_by_a_kill_is_filled(cache: FeatureCache) -> None:
    cache.path.parent.mkdir()
    cache.path.touch()
    assert cache.read(list(_some(0, 1))) == {}
    cache.write(_some(0, 1))
    _assert_holds(cache, _some(0, 1))


def test_features_are_for_their_owner_alone(tmp_path: Path) -> None:
    """They can be turned back into pictures that resemble the image."""
    folder = tmp_path / "own" / "cache"
    before = os.umask(0o022)
    try:
        cache = FeatureCache(folder, TINY)
        cache.write({image_key(b"a"): np.zeros(12, dtype=np.float32)})
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(cache.path.stat().st_mode) == 0o600
