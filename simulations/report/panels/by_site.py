"""The matrix of models and sites as a heat map, and the same with intervals as a forest plot."""

from __future__ import annotations

from common.metrics import describe
from simulations.report.facts import ALL, BALANCED, Facts
from simulations.report.fairness_tables import spread_number
from simulations.report.figures.dot_plot import dot_plot
from simulations.report.figures.heat_map import heat_map
from simulations.report.grid import Grid, Row
from simulations.report.panels.view import (
    Panel,
    Series,
    View,
    capital,
    grid_by_group,
    grid_by_series,
    main_conditions,
    shown_series,
    sites_and_all,
)
from simulations.report.scales import SITES, conditions_on
from simulations.report.titles import FEDERATED, LOCAL, MAJORITY, head_name, model_title

# Studies whose conditions are many: their matrix is of conditions and models.
_OF_CONDITIONS = ("heterogeneity", "learning-curve")
_OF_ONE_RUN = ("simulate", "finetune")
_MOST_LINES, _MOST_CLIENTS = 7, 40


def by_site(facts: Facts) -> Panel:
    """Show where the first learner's models are good and where not."""
    if facts.study.study in _OF_CONDITIONS:
        worst = _worst_map(facts)
        both = (_conditions_map(facts), *(() if worst is None else (worst,)))
        return Panel("By condition", _POOLED if facts.federated_is_pooled else "", both)
    series, places = shown_series(facts), sites_and_all(facts)
    grid = grid_by_series(facts, series, places, BALANCED, f"of the {head_name(facts.learner)}")
    views = []
    if not grid.empty:
        views.append(View(heat_map(grid, describe(BALANCED).title), _MATRIX, grid))
    lines = [one for one in series if one[0] != MAJORITY]
    if len(lines) > _MOST_LINES:
        # Of a large matrix the lines are training together and each site's own.
        lines = [one for one in lines if one[0] != LOCAL]
    for metric in facts.metrics:
        forest = grid_by_group(facts, places, lines, metric, "by site")
        if forest.empty:
            continue
        title = describe(metric)
        caption = f"{capital(title.title)} by site: {title.meaning}. {_BARS}"
        views.append(View(dot_plot(forest, title.title), caption, forest))
    views += _by_client(facts, lines)
    learners = _learners(facts)
    folded = (
        ()
        if learners is None
        else (View(heat_map(learners, describe(BALANCED).title), _LEARNERS, learners),)
    )
    note = _POOLED if facts.federated_is_pooled else ""
    return Panel("Where it works and where not", note, tuple(views), folded)


_MATRIX = (
    "Rows are models and what they were trained on, columns the sites that they were tested on. "
    "Each cell has the balanced accuracy and its 95% interval; the colour shows the value."
)
_POOLED = "The pooled fit predicts the same as the federated model and is not drawn."
_BARS = "Bars are 95% intervals over resampled lesions."
_LEARNERS = "Every learner of the study, in the order in which the study names them."


def _by_client(facts: Facts, lines: list[Series]) -> list[View]:
    """Show simulated sites, where they are others than the acquisition sites and not too many."""
    clients = facts.groups("client") if facts.study.study in _OF_ONE_RUN else ()
    if not 1 < len(clients) <= _MOST_CLIENTS:
        return []
    places = [("client", name) for name in clients]
    grid = grid_by_group(facts, places, lines, BALANCED, "by simulated site")
    if grid.empty:
        return []
    return [View(dot_plot(grid, describe(BALANCED).title), f"{grid.caption}. {_BARS}", grid)]


def _conditions_map(facts: Facts) -> View:
    # Sets of sites have a figure of their own.
    sets = {condition for _, condition in conditions_on(facts, SITES)}
    conditions = dict.fromkeys(c for _, c in facts.series if c not in sets)
    models = dict.fromkeys(model for model, _ in shown_series(facts))
    rows = [
        Row(
            condition,
            tuple(facts.value(model, condition, ALL, ALL, BALANCED) for model in models),
        )
        for condition in conditions
    ]
    grid = Grid(
        f"Balanced accuracy of the {head_name(facts.learner)} by condition",
        "condition",
        tuple(model_title(model) for model in models),
        tuple(rows),
    ).trimmed()
    caption = (
        "Rows are conditions, columns models, over all test images. Each cell has the balanced "
        "accuracy and its 95% interval."
    )
    return View(heat_map(grid, describe(BALANCED).title), caption, grid)


def _worst_map(facts: Facts) -> View | None:
    """Show the worst site's value, which a mean over all images hides."""
    found = {
        (one.model, one.condition): spread_number(facts, one, "worst")
        for one in facts.study.fairness
        if (one.learner, one.by, one.metric) == (facts.learner, "client", BALANCED)
    }
    models = list(dict.fromkeys(m for m, _ in shown_series(facts)))
    conditions = dict.fromkeys(condition for _, condition in facts.series)
    rows = [
        Row(condition, tuple(found.get((model, condition)) for model in models))
        for condition in conditions
    ]
    columns = tuple(model_title(model) for model in models)
    caption = f"Balanced accuracy at the worst site of the {head_name(facts.learner)} by condition"
    grid = Grid(caption, "condition", columns, tuple(rows)).trimmed()
    if grid.empty:
        return None
    text = (
        "The same at the site of each partition where it is lowest; which site that is may differ "
        "from model to model."
    )
    return View(heat_map(grid, "balanced accuracy at the worst site"), text, grid)


def _learners(facts: Facts) -> Grid | None:
    """Compare learners, where the study has several."""
    names = facts.study.settings.learners
    if len(names) < 2:
        return None
    places, rows = sites_and_all(facts), []
    for learner in names:
        for condition in main_conditions(facts):
            cells = [facts.cell(FEDERATED, condition, by, group, learner) for by, group in places]
            shown = tuple(facts.shown(cell, BALANCED) for cell in cells)
            rows.append(Row(f"{learner}, {condition}", shown))
    columns = tuple(group if by != ALL else "all test images" for by, group in places)
    grid = Grid("Balanced accuracy by learner", "learner", columns, tuple(rows)).trimmed()
    return None if grid.empty else grid
