"""A comparison's classifiers by backbone and treatment of imbalance, and all of them ranked."""

from __future__ import annotations

from common.metrics import describe
from simulations.report.comparison import COMPARE, combinations, short_condition
from simulations.report.facts import ALL, BALANCED, Facts
from simulations.report.figures.dot_plot import dot_plot
from simulations.report.figures.heat_map import heat_map
from simulations.report.grid import Grid, Row
from simulations.report.panels.view import Panel, View

_MAP = (
    "Rows are classifiers, columns backbones with a treatment of imbalance: none, weights in the "
    "loss, or resampling. Each cell has the balanced accuracy over all test images and its 95% "
    "interval; the colour shows the value."
)
_RANKED = (
    "The same, the best first. Bars are 95% intervals over resampled lesions, of each combination "
    "by itself: two whose bars overlap may still differ, as they are of the same images."
)


def combined(facts: Facts) -> Panel:
    """Show every combination of a comparison; nothing of another study."""
    title = "Every combination"
    if facts.study.study != COMPARE:
        return Panel(title, "", ())
    name = describe(BALANCED).title
    grid = Grid(
        "Balanced accuracy by classifier, backbone and treatment",
        "classifier",
        tuple(short_condition(facts, one) for one in facts.conditions),
        tuple(
            Row(
                learner,
                tuple(
                    facts.shown(facts.cell(facts.model, one, ALL, ALL, learner), BALANCED)
                    for one in facts.conditions
                ),
            )
            for learner in facts.study.settings.learners
        ),
    ).trimmed()
    if grid.empty:
        return Panel(title, "", ())
    ranked = Grid(
        "Balanced accuracy of every combination",
        "combination",
        ("over all test images",),
        tuple(
            Row(f"{short_condition(facts, one.condition)}, {one.learner}", (one.value,))
            for one in combinations(facts)
        ),
    )
    views = (
        View(heat_map(grid, name), _MAP, grid),
        View(dot_plot(ranked, name), _RANKED, ranked),
    )
    return Panel(title, "", views)
