"""The embedded default cohort: synthetic, made once, kept in the cache folder."""

from __future__ import annotations

from pathlib import Path

from common.errors import SourceError
from common.features import Progress
from common.sources.synthetic import write_synthetic

IMAGES, SEED = 800, 0
# Raised whenever the same seed would draw other pictures, so that no kept folder is stale.
DRAWING = 1


def embedded_cohort(cache: Path, progress: Progress) -> Path:
    """Give the folder of the embedded cohort, writing it the first time.

    Parameters
    ----------
    cache : Path
        The cache folder.
    progress : callable
        Called with (images done, images in all).

    Raises
    ------
    SourceError
        If it cannot be written.
    """
    folder = cache / f"synthetic-{IMAGES}-{SEED}-v{DRAWING}"
    if folder.is_dir():
        return folder
    try:
        write_synthetic(folder, images=IMAGES, seed=SEED, progress=progress)
    except SourceError:
        # Another process may have finished it meanwhile; it is the same, byte for byte.
        if not folder.is_dir():
            raise
    return folder
