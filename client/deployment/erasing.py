"""What a site has computed of its images, and can be erased: features, training states, logs."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from client.deployment.settings import SiteFile
from common.deployment.lock import alone
from common.deployment.running import read_status
from common.deployment.service_log import LOGS
from common.errors import DeploymentError
from common.feature_cache import STATES, default_cache

# SQLite's own files beside a database go with it.
_FEATURES = "*.sqlite*"


@dataclass(frozen=True)
class Erased:
    """What was erased.

    Attributes
    ----------
    path : Path
        A file, or a folder with all that was in it.
    bytes : int
        Its size.
    """

    path: Path
    bytes: int


def erase(folder: Path, site: SiteFile) -> tuple[Erased, ...]:
    """Erase what was computed of a site's images.

    Features are keyed by their image's bytes, so that those of an image that is gone from the
    cohort could not be told from others: all go, also those of other cohorts in the same cache, and
    the next run makes those of the images that are left.

    Parameters
    ----------
    folder : Path
        Of the site, whose programs must not run.
    site : SiteFile
        Its settings.

    Returns
    -------
    tuple of Erased
        What there was.

    Raises
    ------
    DeploymentError
        If the site's programs run, or something cannot be erased.
    """
    status = read_status(folder)
    # Of a supervisor that was killed, the programs may still go on.
    if status.supervisor is not None or any(status.services.values()):
        raise DeploymentError(
            f"{folder}: runs, and would write them anew; stop it first: "
            f"dermafed site leave --stop-only --folder {folder}"
        )
    with alone(folder):
        return tuple(_erase(path) for path in _computed(folder, site))


def _computed(folder: Path, site: SiteFile) -> Iterator[Path]:
    cache = site.cache or default_cache()
    yield from sorted(cache.glob(_FEATURES))
    yield from (path for path in (cache / STATES, folder / LOGS) if path.exists())


def _erase(path: Path) -> Erased:
    files = [one for one in path.rglob("*") if one.is_file()] if path.is_dir() else [path]
    size = sum(one.stat().st_size for one in files)
    try:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError as error:
        raise DeploymentError(f"{error.filename or path}: {error.strerror}") from error
    return Erased(path, size)
