"""A small synthetic cohort, its features made once, and real `dermafed` processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.sources.synthetic import write_synthetic

IMAGES = 240

Dermafed = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort") / "drawn"
    write_synthetic(folder, images=IMAGES, seed=3)
    return folder


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def dermafed(shared_cache: Path) -> Dermafed:
    """Run the installed command in a process of its own."""
    script = Path(sys.executable).parent / "dermafed"

    def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [script, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
            env={**os.environ, "DERMAFED_CACHE": str(shared_cache), **environment},
        )

    return run


@pytest.fixture(scope="session")
def exported(dermafed: Dermafed, cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The cohort's features by name of the array, as users get them."""
    out = tmp_path_factory.mktemp("features") / "features.npz"
    done = dermafed("features", cohort, "--out", out)
    assert done.returncode == 0, done.stderr
    with np.load(out, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


@pytest.fixture(scope="session")
def site_run(
    dermafed: Dermafed, cohort: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A finished run over the acquisition sites, and what it printed."""
    out = tmp_path_factory.mktemp("runs") / "by-site"
    done = dermafed("simulate", cohort, "--out", out)
    assert done.returncode == 0, done.stderr
    return out, done
