"""For whom it works: dots by sex, age, localisation, source of the label and skin tone."""

from __future__ import annotations

from common.metrics import describe
from simulations.report.facts import BALANCED, Facts
from simulations.report.fairness_tables import confound_of
from simulations.report.figures.dot_plot import dot_plot
from simulations.report.panels.view import Panel, View, grid_by_group, main_conditions
from simulations.report.titles import SHORTCUT, attribute_title

_NOT_OF_PERSONS = ("site", "client")
_TEXT = "Groups of few lesions differ by chance; the intervals show by how much."


def groups(facts: Facts) -> Panel:
    """Show the federated model by group, with the predictor that sees no image beside it."""
    series = [
        (model, condition)
        for model in (facts.model, SHORTCUT)
        for condition in main_conditions(facts)
        if (model, condition) in facts.series
    ]
    metrics = facts.metrics if facts.study.study == "fairness" else (BALANCED,)
    views = []
    for by in facts.attributes:
        if by in _NOT_OF_PERSONS:
            continue
        for metric in metrics:
            places = [(by, group) for group in facts.groups(by)]
            subject = f"by {attribute_title(by)}"
            grid = grid_by_group(facts, places, series, metric, subject)
            if len(grid.rows) < 2:
                continue
            caption = f"{grid.caption}. Bars are 95% intervals over resampled lesions."
            drawing = dot_plot(grid, describe(metric).title)
            views.append(View(drawing, caption, grid, confound_of(by).strip()))
    return Panel("For whom it works", _TEXT, tuple(views))
