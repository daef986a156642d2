"""A study from its options to its folder; what is done already is not done again."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common.cohort import load_cohort
from common.errors import StudyError
from common.versions import package_versions
from simulations.ray_session import ray_session
from simulations.studies import result as files
from simulations.studies.base import Study
from simulations.studies.cells import Evaluated, evaluate
from simulations.studies.fit import Fit, FitResult, load_result
from simulations.studies.image_table import ImageTable, make_image_table
from simulations.studies.lab import Lab, make_bench
from simulations.studies.models import run_fit
from simulations.studies.open_lab import Display, lab_identities, make_groupings, open_lab
from simulations.studies.options import StudyOptions
from simulations.studies.series import Series, collect_series
from simulations.studies.tasks import run_pieces

IDENTITY_FILE, FITS_FOLDER = "study.json", "fits"
_UNFINISHED = ".unfinished"


def run_study(
    study: Study,
    options: StudyOptions,
    *,
    ray_address: str | None,
    display: Display,
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Run a study, or what is left of it, and write its folder.

    Parameters
    ----------
    study : Study
        One of `simulations.studies.STUDIES`.
    options : StudyOptions
        The user's choices.
    ray_address : str or None
        Address of a running Ray cluster; None for this machine. Features are read here and go to
        the cluster through Ray.
    display : Display
        Shows what happens.
    more : mapping or None
        What ``result.json`` holds besides.

    Returns
    -------
    dict
        What ``result.json`` holds.

    Raises
    ------
    DermafedError
        If anything is not what it must be; fits that are done stay in the folder.
    """
    options.check(tunes=study.tunes)
    seconds = _Seconds()
    cohort = load_cohort(options.cohort)
    plan = options.plan(cohort, study.learners)
    fits = options.treated(study.fits(plan), fused=study.fuses)
    _claim(options.out, study)
    lab, notes = open_lab(cohort, options, fits, display)
    groupings = make_groupings(study, lab.cohort, display)
    seconds.lap("features")
    about = lab_identities(lab, fits)
    done = {fit: _path(options.out, fit, about[fit]) for fit in fits}
    left = [fit for fit, path in done.items() if not path.is_file()]
    _drop_scratch(options.out, {_scratch(done[fit]) for fit in left})
    if len(left) < len(fits):
        display.note(f"{len(fits) - len(left)} of {len(fits)} fits are done already")
    with ray_session(ray_address) as cpus:
        watch = display.pieces("fits")
        shared = lab if any(fit.training for fit in fits) else lab.without_files()
        pieces = [(fit, _scratch(done[fit])) for fit in left]
        for (fit, scratch), found in run_pieces(_fit, shared, pieces, _name, cpus, watch):
            found.save(done[fit])
            shutil.rmtree(scratch, ignore_errors=True)
        seconds.lap("fits")
        results = [(fit, load_result(done[fit])) for fit in fits]
        treated = _count_notes(results)
        for note in treated:
            display.note(note)
        series = collect_series(study, results)
        table = make_image_table(lab.cohort, groupings, draws=options.draws, seed=options.seed)
        to_measure = [(one, study.by) for one in series]
        evaluated: dict[tuple[str, str, str], Evaluated] = {}
        watch = display.pieces("intervals")
        for (one, _), of in run_pieces(_evaluate, table, to_measure, _series_name, cpus, watch):
            evaluated[one.name] = of
    seconds.lap("intervals")
    files.write_predictions(options.out / files.PREDICTIONS_FILE, lab.cohort, groupings, series)
    in_order = [evaluated[one.name] for one in series]
    outcome = {
        "kind": "study",
        "study": study.name,
        "question": study.question,
        "settings": options.shown(study.learners),
        "cohort": files.describe_cohort(lab.cohort),
        "cells": [cell for one in in_order for cell in one.cells],
        "fairness": [entry for one in in_order for entry in one.fairness],
        "comparisons": files.comparisons(study.by, study.pairs(plan), plan.learners, evaluated),
        "exactness": files.exactness(results),
        **{name: make(plan, evaluated) for name, make in study.more.items()},
        "costs": files.costs(study, results),
        "validation": files.validation(study, results),
        "notes": [*notes, *treated],
        "fits": {"all": len(fits), "this_time": len(left)},
        "seconds": {},
        "machine": f"{cpus} cores",
        "versions": package_versions(),
        **(more or {}),
    }
    seconds.lap("write")
    outcome["seconds"] = seconds.laps
    files.write_json(options.out / files.RESULT_FILE, outcome)
    return outcome


def _count_notes(results: Sequence[tuple[Fit, FitResult]]) -> list[str]:
    """Give each note of the sites' treatments once, with the number of fits that have it."""
    found = Counter(note for _, result in results for note in result.about["imbalance"])
    return [f"{note} (in {fits} of {len(results)} fits)" for note, fits in found.items()]


def _fit(lab: Lab, piece: tuple[Fit, Path]) -> FitResult:
    return run_fit(make_bench(lab, piece[0]), piece[1])


def _name(piece: tuple[Fit, Path]) -> str:
    fit = piece[0]
    tests = f" ({', '.join(fit.tests)})" if fit.tests else ""
    return f"{fit.learner}, {fit.condition}{tests}, split seed {fit.split_seed}"


def _evaluate(table: ImageTable, piece: tuple[Series, tuple[str, ...]]) -> Evaluated:
    return evaluate(piece[0], table, piece[1])


def _series_name(piece: tuple[Series, tuple[str, ...]]) -> str:
    return ", ".join(piece[0].name)


class _Seconds:
    """Wall-clock seconds by phase."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = round(now - self._last, 3)
        self._last = now


def _claim(out: Path, study: Study) -> None:
    """Make the study's folder, or refuse one that is something else.

    Raises
    ------
    StudyError
        If the folder holds another study or none, or cannot be made.
    """
    identity = out / IDENTITY_FILE
    try:
        if identity.is_file():
            found = json.loads(identity.read_text(encoding="utf-8")).get("study")
            if found != study.name:
                raise StudyError(f"{out}: holds the study {found}; choose another --out")
            return
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise StudyError(f"{out}: is not a study's folder; choose another --out")
        out.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError, AttributeError) as error:
        raise StudyError(f"{out}: cannot be used as the study's folder: {error}") from error
    files.write_json(identity, {"study": study.name})


def _path(out: Path, fit: Fit, about: str) -> Path:
    return out / FITS_FOLDER / f"{fit.key(about)}.safetensors"


def _drop_scratch(out: Path, wanted: set[Path]) -> None:
    """Remove what was left of fits that are done since, or are not those of this study now."""
    for path in (out / FITS_FOLDER).glob(f"*{_UNFINISHED}"):
        if path not in wanted:
            shutil.rmtree(path, ignore_errors=True)


def _scratch(path: Path) -> Path:
    """Name the folder from which a fit that was stopped goes on."""
    return path.with_suffix(_UNFINISHED)
