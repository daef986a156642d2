"""The folders of a run of the lab, and the cohort that it has where none is named."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from common.console import progress_bar
from common.errors import SettingsError
from common.feature_cache import default_cache
from common.settings import RunSettings
from common.sources.embedded import embedded_cohort


def run_folders(
    cohort: Path | None, run: Path, cache: Path | None, ray_address: str | None
) -> dict[str, str]:
    """Give the run settings cohort, out and cache.

    Parameters
    ----------
    cohort, run, cache : Path
        As on the command line.
    ray_address : str or None
        A cluster's, whose machines know the cohort by the name that was given.

    Raises
    ------
    SettingsError
        If there is a cluster and no cohort.
    """
    if cohort is None and ray_address is not None:
        raise SettingsError("--ray-address: name a COHORT that the cluster's machines can read")
    folder = None if cohort is None else (cohort.absolute() if ray_address else cohort.resolve())
    folders = {"cohort": "" if folder is None else str(folder), "out": str(run.absolute())}
    if cache is not None or ray_address is None:
        folders["cache"] = str((cache or default_cache()).absolute())
    return folders


def with_cohort(settings: RunSettings, console: Console) -> RunSettings:
    """Take the embedded synthetic cohort where the settings name none, making it the first time."""
    if settings.cohort:
        return settings
    with progress_bar(console, "synthetic cohort") as bar:
        made = embedded_cohort(default_cache(), bar)
    return settings.model_copy(update={"cohort": str(made)})
