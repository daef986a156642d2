"""A run folder appears whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common.errors import RunFolderError

# How much of a name its temporary folder carries: a name and what is added must stay below 255.
_NAME = 40


def check_run_folder(path: Path, *, overwrite: bool) -> None:
    """Refuse a folder that a run may not write, before any work is done.

    Raises
    ------
    RunFolderError
        If it exists and `overwrite` is False, or is something else than a run's folder.
    """
    try:
        exists = path.exists()
    except OSError as error:
        raise RunFolderError(f"{path}: {error.strerror}") from error
    if not exists:
        return
    if not overwrite:
        raise RunFolderError(f"{path}: exists already; choose another --out or give --overwrite")
    if not path.is_dir() or (any(path.iterdir()) and not (path / "result.json").is_file()):
        raise RunFolderError(f"{path}: is not the folder of a run, so it is not overwritten")


@contextmanager
def new_run_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary folder that becomes `path` when the body succeeds.

    Raises
    ------
    RunFolderError
        As `check_run_folder`, or if the folder cannot be made.
    """
    check_run_folder(path, overwrite=overwrite)
    path = path.absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{path.name[:_NAME]}.partial-"
        partial = Path(tempfile.mkdtemp(prefix=prefix, dir=path.parent))
    except OSError as error:
        raise RunFolderError(f"{path}: cannot make it: {error.strerror}") from error
    try:
        yield partial
        # mkdtemp makes it private; a result is as readable as anything else the user makes.
        umask = os.umask(0)
        os.umask(umask)
        partial.chmod(0o777 & ~umask)
        check_run_folder(path, overwrite=overwrite)
        if path.exists():
            replaced = partial.with_name(partial.name + ".replaced")
            path.rename(replaced)
            try:
                partial.rename(path)
            except BaseException:
                replaced.rename(path)
                raise
            if replaced.is_symlink():
                replaced.unlink()
            else:
                shutil.rmtree(replaced)
        else:
            partial.rename(path)
    except OSError as error:
        raise RunFolderError(f"{path}: cannot write it: {error.strerror or error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
