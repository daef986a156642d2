"""How results change with the skewness of the partition, the images a site, the sites."""

from __future__ import annotations

from common.metrics import describe
from simulations.report.facts import ALL, BALANCED, Facts
from simulations.report.figures.curves import Axes, Series, curves
from simulations.report.figures.dot_plot import dot_plot
from simulations.report.grid import Grid, Row
from simulations.report.panels.view import Panel, View, capital, shown_series
from simulations.report.scales import ALPHA, IMAGES, SITES, TITLES, conditions_on
from simulations.report.schema import NO_VALUE
from simulations.report.titles import FEDERATED, model_title


def scales(facts: Facts) -> Panel:
    """Show each metric over each scale that the study varies."""
    views = []
    for scale in (IMAGES, ALPHA):
        for metric in facts.metrics:
            view = _curve(facts, conditions_on(facts, scale), metric, TITLES[scale])
            if view is not None:
                views.append(view)
    sets = _sets(facts)
    return Panel("How it changes", "", tuple(views if sets is None else [*views, sets]))


def _curve(
    facts: Facts, conditions: list[tuple[float, str]], metric: str, title: str
) -> View | None:
    models = list(dict.fromkeys(model for model, _ in shown_series(facts)))
    rows = [
        Row(
            f"{x:g}",
            tuple(facts.value(model, condition, ALL, ALL, metric) for model in models),
        )
        for x, condition in conditions
    ]
    caption = f"{capital(describe(metric).title)} by {title}"
    columns = tuple(model_title(model) for model in models)
    grid = Grid(caption, title, columns, tuple(rows)).trimmed()
    if len(grid.rows) < 2:
        return None
    lines = [
        Series(
            label,
            tuple(float(row.label) for row in grid.rows),
            tuple(
                NO_VALUE if (cell := row.cells[column]) is None else cell.triple
                for row in grid.rows
            ),
        )
        for column, label in enumerate(grid.columns)
    ]
    axes = Axes(title, describe(metric).title, logarithmic=True)
    text = f"{caption}, over all test images. Bands are 95% intervals over resampled lesions."
    return View(curves(lines, axes, caption), text, grid)


def _sets(facts: Facts) -> View | None:
    """Show every set of sites that was learned from, the smallest first."""
    names = [condition for _, condition in conditions_on(facts, SITES)]
    if not names:
        return None
    rows = [
        Row(name, (facts.value(FEDERATED, name, ALL, ALL, BALANCED),))
        for name in (*names, facts.main_condition)
    ]
    caption = "Balanced accuracy by the sites that were learned from"
    grid = Grid(caption, "sites", (model_title(FEDERATED),), tuple(rows)).trimmed()
    if grid.empty:
        return None
    text = f"{caption}, over the test images of all sites. Bars are 95% intervals."
    return View(dot_plot(grid, describe(BALANCED).title), text, grid)
