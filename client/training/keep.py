"""What a site keeps between rounds, on its own disk: personal layers, control variates, moments.

It is kept by run and round. A round goes on from what the last round that counted left, which the
coordinator names, so that a round that is repeated, by it or after a restart, finds what it found
before.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from common.errors import StateError
from common.feature_cache import private_folder
from common.whole_file import whole_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NAME = re.compile(r"round-(\d+)\.safetensors")
_DAYS_KEPT = 30


class Keep:
    """A site's own arrays of one run.

    Parameters
    ----------
    folder : Path
        Where all runs' states are.
    run : str
        The run's identity.
    site : str
        The site's name; several may share a disk in a simulation.
    """

    def __init__(self, folder: Path, run: str, site: str) -> None:
        name = blake2b(site.encode(), digest_size=8).hexdigest()
        self._site, self._folder = site, folder / run / name

    def load(self, number: int) -> dict[str, NDArray[Any]]:
        """Read what a round left; nothing for round 0.

        Raises
        ------
        StateError
            If it is not there, or damaged.
        """
        if number == 0:
            return {}
        path = self._path(number)
        try:
            return load_file(path)
        except (OSError, SafetensorError) as error:
            raise StateError(
                f"site {self._site}: {path}: what round {number} left cannot be read; run without "
                "this site, or start the run again"
            ) from error

    def save(
        self, number: int, arrays: Mapping[str, NDArray[Any]], others: Collection[int]
    ) -> None:
        """Write what a round leaves, and drop what is of neither it nor the `others`.

        Raises
        ------
        OutputError
            If the disk does not take it.
        """
        # The cache's own folder, and what is in it.
        private_folder(self._folder.parents[2])
        private_folder(self._folder.parents[1])
        with whole_file(self._path(number)) as partial:
            save_file(dict(arrays), partial)
        for path in self._folder.iterdir():
            match = _NAME.fullmatch(path.name)
            if match and int(match[1]) not in {number, *others}:
                path.unlink(missing_ok=True)

    def activations(self, depth: int) -> Path:
        """Name the file for activations at the end of the frozen stages."""
        return self._folder / f"activations-{depth}.npy"

    def drop(self) -> None:
        """Remove everything."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self._folder / f"round-{number}.safetensors"


def forget_old_runs(folder: Path, now: float) -> None:
    """Remove what runs have left that nobody has gone on with for 30 days.

    Parameters
    ----------
    folder : Path
        Where all runs' states are.
    now : float
        Seconds since the epoch.
    """
    if not folder.is_dir():
        return
    for run in folder.iterdir():
        try:
            last = max(path.stat().st_mtime for path in (run, *run.rglob("*")))
        except FileNotFoundError:
            # Another site on this disk removes it, or goes on with it.
            continue
        if now - last > _DAYS_KEPT * 86_400:
            shutil.rmtree(run, ignore_errors=True)
