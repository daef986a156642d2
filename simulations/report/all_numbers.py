"""Every number of a run in tables, for those who want to look one up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from common.metrics import CATALOGUE, describe
from common.metrics.catalogue import SEPARATOR
from simulations.report.facts import ALL, BALANCED, Compared, Facts, comparison_groups
from simulations.report.fairness_tables import confound_of
from simulations.report.grid import Grid, Row
from simulations.report.numbers import Sentence, Tally, count
from simulations.report.panels.view import main_conditions
from simulations.report.schema import Cell, Comparison
from simulations.report.titles import attribute_title, model_title

_OF_A_CLASS = ("sensitivity", "specificity", "f1", "auc", "sensitivity_at_95")


@dataclass(frozen=True)
class ComparisonTable:
    """Two models compared.

    Attributes
    ----------
    title : str
        Which, by what.
    groups : mapping of str to Compared
        A row each.
    confounded : str
        What must stand beside; empty but for skin tone.
    """

    title: str
    groups: Mapping[str, Compared]
    confounded: str


def metric_tables(facts: Facts) -> list[tuple[Grid, str]]:
    """Make a table a learner and attribute; beside each, what must stand beside it.

    All images and sites have every metric of a group as a whole; other attributes have those
    that a page shows first.
    """
    tables = []
    overall = tuple(name for name in CATALOGUE if name not in _OF_A_CLASS)
    for learner in dict.fromkeys(cell.learner for cell in facts.study.cells):
        for by in dict.fromkeys(cell.by for cell in facts.study.cells):
            cells = [c for c in facts.study.cells if (c.learner, c.by) == (learner, by)]
            if not cells:
                continue
            metrics = overall if by in (ALL, "site") else facts.metrics
            metrics = tuple(name for name in metrics if any(name in c.metrics for c in cells))
            rows = [
                Row(_label(cell), tuple(facts.shown(cell, name) for name in metrics), _sizes(cell))
                for cell in cells
            ]
            caption = f"{learner}, {attribute_title(by)}"
            columns = tuple(describe(name).title for name in metrics)
            grid = Grid(caption, "model, condition, group", columns, tuple(rows))
            tables.append((grid, confound_of(by).strip()))
    return tables


def class_tables(facts: Facts) -> list[Grid]:
    """Make a table a metric of one class: the first learner's federated model, by site."""
    tables = []
    cells = [
        cell
        for cell in facts.study.cells
        if cell.learner == facts.learner
        and cell.model == facts.model
        and cell.by in (ALL, "site")
        and cell.condition in main_conditions(facts)
    ]
    for metric in _OF_A_CLASS:
        names = [f"{metric}{SEPARATOR}{label}" for label in facts.study.cohort.classes]
        rows = [
            Row(_label(cell), tuple(facts.shown(cell, name) for name in names)) for cell in cells
        ]
        title = describe(metric).title
        caption = f"{title[:1].upper()}{title[1:]} of each class, {facts.learner}"
        tables.append(
            Grid(caption, "model, condition, group", facts.study.cohort.classes, tuple(rows))
        )
    return [table for table in tables if not table.empty]


def comparison_tables(facts: Facts) -> list[ComparisonTable]:
    """Make a table a comparison: the first learner's by every metric, others' by the first."""
    return [
        ComparisonTable(_comparison_title(one), comparison_groups(one), confound_of(one.by).strip())
        for one in facts.study.comparisons
        if one.learner == facts.learner or one.metric == BALANCED
    ]


def _comparison_title(one: Comparison) -> str:
    a, b = one.a, one.b
    return (
        f"{one.learner}: {model_title(a.model)} ({a.condition}) minus {model_title(b.model)} "
        f"({b.condition}), {describe(one.metric).title}, by {attribute_title(one.by)}"
    )


def _label(cell: Cell) -> str:
    group = "all" if cell.by == ALL else cell.group
    return f"{model_title(cell.model)}, {cell.condition}, {group}"


def _sizes(cell: Cell) -> Sentence:
    where = {
        "learner": cell.learner,
        "model": cell.model,
        "condition": cell.condition,
        "by": cell.by,
        "group": cell.group,
    }
    images = "+".join(map(str, cell.images))
    return (
        Tally(images, "images", where),
        " images, ",
        Tally(count(cell.lesions), "lesions", where),
        " lesions",
    )
