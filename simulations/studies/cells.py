"""From a series to the cells of the tables: every metric of every group, with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from common.cohort import UNKNOWN
from common.metrics import Measured, average, describe, make_interval, measure
from common.metrics.fairness import spread
from common.metrics.spread_interval import odds_interval, spread_intervals
from simulations.studies.groups import CLIENT
from simulations.studies.image_table import ImageTable
from simulations.studies.series import Repetition, Series

if TYPE_CHECKING:
    from numpy.typing import NDArray

Json = dict[str, Any]
# Metrics by which groups and models are compared with each other.
COMPARED = ("balanced_accuracy", "macro_auc", "malignant_auc", "malignant_sensitivity")
EQUALISED_ODDS = "equalised_odds"
# A group of fewer lesions differs from others by chance: it is shown, and compared with none.
FEWEST_LESIONS = 10


@dataclass(frozen=True)
class Evaluated:
    """A series' share of the result.

    Attributes
    ----------
    cells, fairness : list of dict
        As in ``result.json``.
    draws : mapping
        By (grouping, metric): each group's values of `COMPARED`, shape (1 + draws,) each.
    """

    cells: list[Json]
    fairness: list[Json]
    draws: Mapping[tuple[str, str], Mapping[str, NDArray[np.float64]]]


def evaluate(series: Series, table: ImageTable, by: Sequence[str]) -> Evaluated:
    """Measure a series in every group.

    Parameters
    ----------
    series : Series
        The predictions.
    table : ImageTable
        What is known of the images.
    by : sequence of str
        Groupings.
    """
    cells, fairness, draws = [], [], {}
    for grouping in by:
        values: dict[str, dict[str, NDArray[np.float64]]] = {}
        aside: list[str] = []
        for group in _groups(series, table, grouping):
            parts = [_only(part, table, grouping, group) for part in series.repetitions]
            measured = [_measure(part, table) for part in parts]
            mean = average(measured)
            values[group] = mean.values()
            cells.append(_cell(series, grouping, group, parts, measured, mean, table))
            few = cells[-1]["lesions"] < FEWEST_LESIONS
            if few or group == UNKNOWN:
                aside.append(group)
        for metric in COMPARED:
            known = {group: found[metric] for group, found in values.items() if metric in found}
            draws[grouping, metric] = known
        compared = {group: one for group, one in values.items() if group not in aside}
        fairness += _fairness(series, grouping, compared, aside)
    return Evaluated(cells, fairness, draws)


def _groups(series: Series, table: ImageTable, grouping: str) -> list[str]:
    found = {str(g) for part in series.repetitions for g in _column(part, table, grouping)}
    return sorted(found)


def _column(part: Repetition, table: ImageTable, grouping: str) -> NDArray[np.str_]:
    return part.client if grouping == CLIENT else table.groupings[grouping][part.rows]


def _only(part: Repetition, table: ImageTable, grouping: str, group: str) -> Repetition:
    member = _column(part, table, grouping) == group
    return Repetition(
        part.split_seed,
        part.rows[member],
        part.client[member],
        part.probabilities[member],
        part.predicted[member],
    )


def _measure(part: Repetition, table: ImageTable) -> Measured:
    return measure(
        table.y[part.rows],
        part.predicted,
        part.probabilities.astype(np.float64),
        table.classes,
        table.malignant,
        table.weights[:, table.cluster[part.rows]],
    )


def _cell(
    series: Series,
    grouping: str,
    group: str,
    parts: Sequence[Repetition],
    measured: Sequence[Measured],
    mean: Measured,
    table: ImageTable,
) -> Json:
    values, by_seed = mean.values(), [one.values() for one in measured]
    rows = np.unique(np.concatenate([part.rows for part in parts]))
    absent = [name for name, n in zip(table.classes, mean.support, strict=True) if not n]
    return {
        "learner": series.learner,
        "model": series.model,
        "condition": series.condition,
        "about": dict(series.about),
        "by": grouping,
        "group": group,
        "images": [len(part.rows) for part in parts],
        "lesions": len(set(table.lesion[rows].tolist())),
        "class_lesions": {
            name: len(set(table.lesion[rows[table.y[rows] == label]].tolist()))
            for label, name in enumerate(table.classes)
        },
        "absent": absent,
        "metrics": {name: make_interval(draws).as_list() for name, draws in values.items()},
        "by_seed": {
            name: [_known(one[name][0]) if name in one else None for one in by_seed]
            for name in values
        },
        "confusion": mean.confusion.tolist(),
        "curves": {
            "risk": _points(mean.curves["risk"]),
            "reliability": {
                "confidence": [_known(value) for value in mean.curves["confidence"][0]],
                "accuracy": _points(mean.curves["accuracy"]),
                "images": mean.curves["images"][0].tolist(),
            },
        },
    }


def _fairness(
    series: Series,
    grouping: str,
    values: Mapping[str, Mapping[str, NDArray[np.float64]]],
    aside: Sequence[str],
) -> list[Json]:
    """Compare the groups of a grouping, save those put aside; nothing where there is one group."""
    about = {
        "learner": series.learner,
        "model": series.model,
        "condition": series.condition,
        "by": grouping,
    }
    found: list[Json] = []
    for metric in (*COMPARED, "calibration_error"):
        known = {group: one[metric] for group, one in values.items() if metric in one}
        higher = describe(metric).higher_is_better
        compared = spread(known, higher_is_better=higher)
        intervals = spread_intervals(known, higher_is_better=higher)
        if compared is None or intervals is None:
            continue
        entry: Json = {
            **about,
            "metric": metric,
            "worst_group": compared.worst_group,
            "groups": list(compared.groups),
            "masked": sorted({*aside, *values} - set(compared.groups)),
        }
        for name in ("worst", "gap", "ratio", "deviation"):
            entry[name] = getattr(intervals, name).as_list()
        found.append(entry)
    rates = [
        {group: one[name] for group, one in values.items() if name in one}
        for name in ("malignant_sensitivity", "malignant_specificity")
    ]
    odds = odds_interval(rates[0], rates[1])
    if odds is not None:
        both = [g for g in values if all(g in one and math.isfinite(one[g][0]) for one in rates)]
        found.append(
            {
                **about,
                "metric": EQUALISED_ODDS,
                "difference": odds.as_list(),
                "groups": both,
                "masked": sorted({*aside, *values} - set(both)),
            }
        )
    return found


def _points(curve: NDArray[np.float64]) -> list[list[float | None]]:
    return [make_interval(curve[:, point]).as_list() for point in range(curve.shape[1])]


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
