"""Features on disk, keyed by image bytes, backbone fingerprint and transform.

One SQLite file a backbone: its transactions make it safe under several writers and a kill, and a
row is there whole or not at all. Reading needs no torch.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import platformdirs

from common.errors import CacheError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.backbones import Backbone

CACHE_VARIABLE = "DERMAFED_CACHE"
_LOCK_SECONDS = 120.0
# Folder beside the features for what sites keep between rounds of fine-tuning.
STATES = "states"
_KEYS_A_QUERY = 500


def default_cache() -> Path:
    """Tell the cache folder: ``DERMAFED_CACHE``, or the user's own cache folder."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else Path(platformdirs.user_cache_dir("dermafed"))


def private_folder(path: Path) -> None:
    """Make a folder, where there is none, that only its owner may look into.

    Features can be turned back into pictures that resemble the image.
    """
    if not path.is_dir():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700, exist_ok=True)


def image_key(data: bytes) -> bytes:
    """Identify an image by its file's bytes: a 16-byte BLAKE2b digest."""
    return blake2b(data, digest_size=16).digest()


class FeatureCache:
    """The features of one backbone.

    Parameters
    ----------
    folder : Path
        The cache folder; made on the first write.
    backbone : Backbone
        Whose features these are.
    """

    def __init__(self, folder: Path, backbone: Backbone) -> None:
        self.backbone = backbone
        self.path = folder / f"{backbone.name}-{backbone.fingerprint[:16]}.sqlite"

    def read(self, keys: Sequence[bytes]) -> dict[bytes, NDArray[np.float32]]:
        """Look images up.

        Parameters
        ----------
        keys : sequence of bytes
            From `image_key`.

        Returns
        -------
        dict of bytes to ndarray of float32, shape (dimension,)
            Those that are there.

        Raises
        ------
        CacheError
            If the file is damaged or belongs to another backbone.
        """
        if not self.path.is_file():
            return {}
        found: dict[bytes, NDArray[np.float32]] = {}
        unique = list(dict.fromkeys(keys))
        with self._open() as database:
            for start in range(0, len(unique), _KEYS_A_QUERY):
                part = unique[start : start + _KEYS_A_QUERY]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, x FROM feature WHERE key IN ({marks})"  # noqa: S608
                for key, blob in database.execute(query, part):
                    found[key] = self._vector(blob)
        return found

    def write(self, features: dict[bytes, NDArray[np.float32]]) -> None:
        """Store features, in one transaction; what is there already stays.

        Parameters
        ----------
        features : dict of bytes to ndarray of float32, shape (dimension,)
            By `image_key`.

        Raises
        ------
        CacheError
            If the disk is full, the folder cannot be written, or the file belongs to another
            backbone.
        """
        try:
            private_folder(self.path.parent)
        except OSError as error:
            raise CacheError(f"{self.path.parent}: cannot make it: {error.strerror}") from error
        rows = [(key, np.ascontiguousarray(x, "<f4").tobytes()) for key, x in features.items()]
        with self._open() as database, database:
            database.executemany("INSERT OR IGNORE INTO feature VALUES (?, ?)", rows)

    def _vector(self, blob: object) -> NDArray[np.float32]:
        if isinstance(blob, bytes) and len(blob) == 4 * self.backbone.dimension:
            x = np.frombuffer(blob, dtype="<f4")
            if np.isfinite(x).all():
                return x
        raise CacheError(f"{self.path}: holds a damaged feature; delete this file")

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            # The mode is there before the content is; SQLite's other files take it over.
            os.close(os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600))
            database = sqlite3.connect(self.path, timeout=_LOCK_SECONDS)
        except (OSError, sqlite3.Error) as error:
            raise CacheError(f"{self.path}: cannot open it: {error}") from error
        try:
            self._claim(database)
            yield database
        except sqlite3.Error as error:
            raise CacheError(self._explain(error)) from error
        finally:
            database.close()

    def _claim(self, database: sqlite3.Connection) -> None:
        names = {row[0] for row in database.execute("SELECT name FROM sqlite_master")}
        if not {"owner", "feature"} <= names:
            # Three features of 1,280 numbers fill such a page; smaller ones waste a third.
            database.execute("PRAGMA page_size = 16384")
            with database:
                database.execute("BEGIN IMMEDIATE")
                database.execute("CREATE TABLE IF NOT EXISTS owner (fingerprint TEXT PRIMARY KEY)")
                database.execute(
                    "CREATE TABLE IF NOT EXISTS feature (key BLOB PRIMARY KEY, x BLOB NOT NULL)"
                )
                if not database.execute("SELECT count(*) FROM owner").fetchone()[0]:
                    database.execute("INSERT INTO owner VALUES (?)", (self.backbone.fingerprint,))
        owners = [row[0] for row in database.execute("SELECT fingerprint FROM owner")]
        if owners != [self.backbone.fingerprint]:
            raise CacheError(
                f"{self.path}: made by another backbone or transform than "
                f"{self.backbone.name}; delete this file or name another cache folder"
            )

    def _explain(self, error: sqlite3.Error) -> str:
        # The low byte is the kind of error, the rest its detail.
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code == sqlite3.SQLITE_FULL or "disk I/O" in str(error):
            return (
                f"{self.path}: the disk is full ({error}); free some space or name another cache "
                "folder; what was stored before is kept"
            )
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return f"{self.path}: damaged ({error}); delete this file, it will be made again"
        return f"{self.path}: {error}"
