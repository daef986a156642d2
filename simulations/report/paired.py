"""Two simulations that tested the same images: whether one is better, site by site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from common.metrics import average, lesion_weights, measure, seed_key
from common.metrics.comparison import compare
from simulations.report.facts import ALL, BALANCED, Facts
from simulations.report.loading import Run
from simulations.report.numbers import Shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from simulations.report.predictions_table import PredictionsTable

_KINDS = ("simulate", "finetune")


@dataclass(frozen=True)
class PairedGroup:
    """One run against another in one group of images that both tested.

    Attributes
    ----------
    group : str
        A site, or all images.
    difference, simultaneous : Shown
        The first run's balanced accuracy minus the second's.
    p_corrected : float or None
        Corrected for the number of groups.
    decided : bool
        Whether they differ.
    """

    group: str
    difference: Shown
    simultaneous: Shown
    p_corrected: float | None
    decided: bool


@dataclass(frozen=True)
class Paired:
    """Two runs compared.

    Attributes
    ----------
    a, b : str
        Names of the run folders.
    images : int
        Test images, counted once a split seed, that both have.
    groups : tuple of PairedGroup
        All of them together, and by site.
    """

    a: str
    b: str
    images: int
    groups: tuple[PairedGroup, ...]


def paired_comparisons(runs: Sequence[Run]) -> list[Paired]:
    """Compare every two simulations that share test images of the same split seed.

    Parameters
    ----------
    runs : sequence of Run
        All runs of a page.
    """
    simulations = [run for run in runs if run.study.study in _KINDS]
    pairs = (_compare(a, b) for a, b in combinations(simulations, 2))
    return [pair for pair in pairs if pair is not None]


def _compare(a: Run, b: Run) -> Paired | None:
    if a.study.cohort.classes != b.study.cohort.classes:
        return None
    rows_a, rows_b = (_rows(run) for run in (a, b))
    shared = sorted(rows_a.keys() & rows_b.keys())
    if not shared:
        return None
    draws = min(a.study.settings.draws, b.study.settings.draws)
    # One key for both: what their resamples have in common cancels.
    key = seed_key(a.study.settings.seed)
    picked_a = np.array([rows_a[key] for key in shared])
    picked_b = np.array([rows_b[key] for key in shared])
    groups = []
    sites = a.predictions.text["site"][picked_a]
    values = {}
    for run, picked in ((a, picked_a), (b, picked_b)):
        of_run = {ALL: _draws(run, picked, draws, key)}
        for site in np.unique(sites):
            of_run[str(site)] = _draws(run, picked[sites == site], draws, key)
        values[run.folder] = of_run
    # All images together are one question, the sites another.
    by_site = {name: group for name, group in values[a.folder].items() if name != ALL}
    other = values[b.folder]
    found = {
        **compare({ALL: values[a.folder][ALL]}, {ALL: other[ALL]}),
        **compare(by_site, {name: other[name] for name in by_site}),
    }
    for name, one in found.items():
        where = {"a": a.folder.name, "b": b.folder.name, "group": name, "metric": BALANCED}
        groups.append(
            PairedGroup(
                name,
                Shown(_triple(one.difference.as_list()), {"kind": "paired", **where}, signed=True),
                Shown(
                    _triple(one.simultaneous.as_list()),
                    {"kind": "paired-simultaneous", **where},
                    signed=True,
                ),
                one.p_corrected,
                one.decided,
            )
        )
    return Paired(a.folder.name, b.folder.name, len(shared), tuple(groups))


def _triple(values: list[float | None]) -> tuple[float | None, float | None, float | None]:
    value, low, high = values
    return value, low, high


def _rows(run: Run) -> dict[tuple[str, str], int]:
    """Find the first learner's federated predictions by image and split seed."""
    facts = Facts(run.study)
    table = run.predictions
    found = table.rows(learner=facts.learner, model=facts.model, condition=facts.main_condition)
    return {
        (str(table.text["image_id"][row]), str(table.text["split_seed"][row])): int(row)
        for row in found
    }


def _draws(run: Run, rows: NDArray[np.intp], draws: int, key: bytes) -> NDArray[np.float64]:
    """Give the balanced accuracy, averaged over split seeds, for data and resamples."""
    table, cohort = run.predictions, run.study.cohort
    parts = []
    for seed in np.unique(table.text["split_seed"][rows]):
        of_seed = rows[table.text["split_seed"][rows] == seed]
        weights = lesion_weights(table.text["cluster"][of_seed], draws, key)
        parts.append(
            measure(
                _labels(table, "y_true", of_seed),
                _labels(table, "y_pred", of_seed),
                table.probabilities[of_seed],
                cohort.classes,
                cohort.malignant,
                weights,
            )
        )
    return average(parts).values()[BALANCED]


def _labels(table: PredictionsTable, column: str, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    index = {name: position for position, name in enumerate(table.classes)}
    return np.array([index[str(name)] for name in table.text[column][rows]], dtype=np.intp)
