"""What is taken for what: confusion matrices, over all test images and by site."""

from __future__ import annotations

from simulations.report.facts import ALL, Facts
from simulations.report.figures.confusion import confusion
from simulations.report.grid import Grid, Row
from simulations.report.numbers import Shown
from simulations.report.panels.view import Panel, View, main_conditions
from simulations.report.schema import Cell

_TEXT = (
    "Rows are the true class, columns the predicted one; each cell has the test images, summed "
    "over split seeds, and their share of the row."
)


def confusions(facts: Facts) -> Panel:
    """Show the federated model's confusion matrices."""
    views = [
        view
        for condition in main_conditions(facts)
        if (view := _view(facts, facts.cell(facts.model, condition, ALL, ALL), "")) is not None
    ]
    folded = [
        view
        for group in facts.groups("site")
        if (
            view := _view(
                facts, facts.cell(facts.model, facts.main_condition, "site", group), f" at {group}"
            )
        )
        is not None
    ]
    return Panel("What is taken for what", _TEXT, tuple(views), tuple(folded))


def _view(facts: Facts, cell: Cell | None, where: str) -> View | None:
    if cell is None or cell.confusion is None:
        return None
    classes = facts.study.cohort.classes
    place = {
        "kind": "confusion",
        "learner": cell.learner,
        "model": cell.model,
        "condition": cell.condition,
        "by": cell.by,
        "group": cell.group,
    }
    rows = [
        Row(
            truth,
            tuple(
                Shown((n, None, None), {**place, "truth": truth, "predicted": name}, digits=0)
                for name, n in zip(classes, row, strict=True)
            ),
        )
        for truth, row in zip(classes, cell.confusion, strict=True)
    ]
    caption = f"Confusion matrix of the federated model, {cell.condition}{where}"
    grid = Grid(f"{caption}: images", "truth", classes, tuple(rows))
    return View(confusion(cell.confusion, classes, caption), caption, grid)
