"""Run folders of drawn predictions, made once, and their pages."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from simulations.report.loading import Run, load_run
from simulations.report.page import make_page, render
from tests.simulations.report.report_run import write_run, write_small_cohort

RunFolder = Callable[..., Path]
LoadedRun = Callable[..., Run]
PageOf = Callable[..., str]


@pytest.fixture(scope="session")
def small_cohort(
    tmp_path_factory: pytest.TempPathFactory,
    write_table: Callable[..., Path],
    write_image: Callable[..., Path],
) -> Path:
    return write_small_cohort(tmp_path_factory.mktemp("reported") / "c", write_table, write_image)


@pytest.fixture(scope="session")
def run_folder(small_cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Give the folder of a study by its name; tests must not change it."""
    base = tmp_path_factory.mktemp("runs")

    def folder(study: str, variant: str = "") -> Path:
        path = base / f"{study}{variant}"
        if not path.exists():
            write_run(path, small_cohort, study, variant=variant)
        return path

    return folder


@pytest.fixture(scope="session")
def loaded(run_folder: RunFolder) -> LoadedRun:
    @cache
    def load(study: str, variant: str = "") -> Run:
        return load_run(run_folder(study, variant))

    return load


@pytest.fixture(scope="session")
def page_of(loaded: LoadedRun) -> PageOf:
    """Give the page of one study by its name."""

    @cache
    def page(study: str) -> str:
        return render(make_page([loaded(study)]))

    return page
