"""A file appears whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import OutputError

# How much of a name its temporary folder carries: a name and what is added must stay below 255.
_NAME = 40


def check_output(path: Path, *, overwrite: bool) -> None:
    """Refuse a file that may not be written, before any work is done.

    Raises
    ------
    OutputError
        If it exists and `overwrite` is False, or is a folder.
    """
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}") from error
    if is_folder:
        raise OutputError(f"{path}: is a folder; name a file with --out")
    if exists and not overwrite:
        raise OutputError(f"{path}: exists already; choose another --out or give --overwrite")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a temporary file name that becomes `path` when the body succeeds.

    Raises
    ------
    OutputError
        If the disk does not take it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{path.name[:_NAME]}."
        with tempfile.TemporaryDirectory(prefix=prefix, dir=path.parent) as folder:
            # The ending stays: some writers choose a format by it, or add their own.
            partial = Path(folder) / f"partial{path.suffix}"
            yield partial
            partial.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot write it: {error.strerror or error}") from error
