"""When to hand over to a person: risk by coverage; and whether probabilities can be trusted."""

from __future__ import annotations

from simulations.report.curve_numbers import curve_place, risk_number
from simulations.report.facts import ALL, Facts
from simulations.report.figures.curves import Axes, Series, curves
from simulations.report.figures.reliability import reliability
from simulations.report.grid import Grid, Row
from simulations.report.numbers import Shown
from simulations.report.panels.view import Panel, View, main_conditions, series_label
from simulations.report.schema import COVERAGES, RELIABILITY_BINS, Cell, Curves, Triple
from simulations.report.titles import FROZEN, LOCAL, PERSONALISED, SHORTCUT

_BESIDE = (FROZEN, LOCAL, PERSONALISED, SHORTCUT)
_TEXT = (
    "A model that knows when it is unsure can hand those images to a person. Left to right it "
    "decides more of them itself; low is good."
)
_RISK = (
    "Share of wrong predictions among the images that the model is surest of, by the share that "
    "it decides itself. Bands are 95% intervals over resampled lesions."
)
_RELIABILITY = (
    "On the dashed line a probability means what it says: of predictions made with 80% confidence, "
    "80% are right. Below the line the model is surer than it should be. The bars count images; "
    "the band is a 95% interval."
)


def confidence(facts: Facts) -> Panel:
    """Show risk by coverage of several models, and the reliability of the federated one."""
    conditions = main_conditions(facts)
    views = []
    series = [(m, c) for m in (facts.model, *_BESIDE) for c in conditions if (m, c) in facts.series]
    found = [(one, cell.curves) for one in series if (cell := _cell(facts, one)) and cell.curves]
    if found:
        views.append(_risk(facts, found))
    for condition in conditions:
        cell = _cell(facts, (facts.model, condition))
        if cell is not None and cell.curves is not None:
            views.append(_reliability(cell, cell.curves))
    return Panel("When to hand over to a person", _TEXT, tuple(views))


def _cell(facts: Facts, series: tuple[str, str]) -> Cell | None:
    return facts.cell(*series, ALL, ALL)


def _risk(facts: Facts, found: list[tuple[tuple[str, str], Curves]]) -> View:
    coverages = [(index + 1) / COVERAGES for index in range(COVERAGES)]
    rows = []
    for coverage in coverages:
        cells = []
        for one, curve in found:
            cell = _cell(facts, one)
            if cell is not None:
                cells.append(risk_number(cell, curve, coverage))
        rows.append(Row(f"{coverage:.2f}", tuple(cells)))
    labels = [series_label(facts, one) for one, _ in found]
    caption = "Error rate by share of images that the model decides itself"
    lines = [
        Series(label, tuple(coverages), tuple(curve.risk))
        for label, (_, curve) in zip(labels, found, strict=True)
    ]
    axes = Axes("share of images that the model decides", "share of them wrong", marks=False)
    grid = Grid(caption, "coverage", tuple(labels), tuple(rows))
    return View(curves(lines, axes, caption), _RISK, grid)


def _reliability(cell: Cell, curve: Curves) -> View:
    one = curve.reliability
    rows = []
    for index in range(RELIABILITY_BINS):
        low, high = index / RELIABILITY_BINS, (index + 1) / RELIABILITY_BINS
        mean: Triple = (one.confidence[index], None, None)
        images: Triple = (one.images[index], None, None)
        at = str(index)
        rows.append(
            Row(
                f"{low:.2f} to {high:.2f}",
                (
                    Shown(mean, curve_place(cell, "confidence", at)),
                    Shown(one.accuracy[index], curve_place(cell, "accuracy", at)),
                    Shown(images, curve_place(cell, "images", at), digits=0),
                ),
            )
        )
    caption = f"Reliability of the federated model, {cell.condition}"
    columns = ("mean confidence", "share right", "images over all seeds")
    grid = Grid(caption, "confidence", columns, tuple(rows))
    return View(reliability(one, caption), f"{caption}. {_RELIABILITY}", grid)
