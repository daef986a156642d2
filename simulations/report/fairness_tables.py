"""How unequal a metric is over groups, as tables; skin tone never without its confound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from common.metrics import describe
from simulations.report.facts import Facts, rests_on_few
from simulations.report.grid import Grid, Row
from simulations.report.numbers import Shown
from simulations.report.schema import Fairness, Triple
from simulations.report.titles import attribute_title, model_title
from simulations.skin_tone import CONFOUNDED

SKIN_TONE = "skin_tone"
EQUALISED_ODDS = "equalised_odds"
_ODDS = ("malignant_sensitivity", "malignant_specificity")

Spread = Literal["worst", "gap", "ratio", "deviation", "difference"]
_COLUMNS: dict[Spread, str] = {
    "worst": "worst group",
    "gap": "gap",
    "ratio": "lowest / highest",
    "deviation": "standard deviation",
}


@dataclass(frozen=True)
class FairnessTable:
    """One attribute's spread.

    Attributes
    ----------
    by : str
        The attribute.
    grid : Grid
        A row for each model, condition and metric.
    masked : tuple of str
        Groups without a value in some metric.
    confounded : str
        What must stand beside; empty but for skin tone.
    """

    by: str
    grid: Grid
    masked: tuple[str, ...]
    confounded: str


def confound_of(by: str) -> str:
    """Give the sentence that must follow a number by skin tone, after a blank; else nothing."""
    return f" {CONFOUNDED}" if by == SKIN_TONE else ""


def spread_number(facts: Facts, one: Fairness, kind: Spread) -> Shown:
    """Give one number of a spread over groups, marked where any of these has few lesions."""
    triple: Triple = getattr(one, kind)
    where = {
        "kind": kind,
        "learner": one.learner,
        "model": one.model,
        "condition": one.condition,
        "by": one.by,
        "metric": one.metric,
    }
    metrics = _ODDS if one.metric == EQUALISED_ODDS else (one.metric,)
    malignant = facts.study.cohort.malignant
    few = any(
        rests_on_few(cell, metric, malignant)
        for group in one.groups
        if (cell := facts.cell(one.model, one.condition, one.by, group, one.learner)) is not None
        for metric in metrics
    )
    return Shown(triple, where, few=few)


def fairness_tables(facts: Facts) -> list[FairnessTable]:
    """Make one table an attribute, of the first learner."""
    own = [one for one in facts.study.fairness if one.learner == facts.learner]
    tables = []
    for by in dict.fromkeys(one.by for one in own):
        of_attribute = [one for one in own if one.by == by]
        rows = [
            Row(_label(one), tuple(_cell(facts, one, kind) for kind in (*_COLUMNS, "difference")))
            for one in of_attribute
        ]
        masked = dict.fromkeys(name for one in of_attribute for name in one.masked)
        grid = Grid(
            f"Spread over groups by {attribute_title(by)}",
            "metric, model",
            (*_COLUMNS.values(), "equalised odds difference"),
            tuple(rows),
        )
        tables.append(FairnessTable(by, grid, tuple(masked), confound_of(by).strip()))
    return tables


def _label(one: Fairness) -> str:
    if one.metric == EQUALISED_ODDS:
        title = "equalised odds"
    else:
        worst = "" if one.worst_group is None else f" (worst: {one.worst_group})"
        title = f"{describe(one.metric).title}{worst}"
    return f"{title}, {model_title(one.model)}, {one.condition}"


def _cell(facts: Facts, one: Fairness, kind: Spread) -> Shown | None:
    shown = spread_number(facts, one, kind)
    return None if shown.value is None else shown
