"""What a panel is made of, and how its tables are filled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common.metrics import describe
from simulations.report.comparison import COMPARE, short_condition
from simulations.report.facts import ALL, Facts
from simulations.report.figures.svg import Drawing
from simulations.report.grid import Grid, Row
from simulations.report.numbers import Sentence, Shown, Tally, count
from simulations.report.titles import LOCAL, attribute_title, model_title

# A model and a condition.
Series = tuple[str, str]


@dataclass(frozen=True)
class View:
    """A figure with what stands under it.

    Attributes
    ----------
    drawing : Drawing
        The figure.
    caption : str
        What it shows and how to read it.
    grid : Grid
        Its numbers.
    confounded : str
        A sentence that must stand beside it; mostly empty.
    """

    drawing: Drawing
    caption: str
    grid: Grid
    confounded: str = ""


@dataclass(frozen=True)
class Panel:
    """Figures of one subject.

    Attributes
    ----------
    title : str
        Its heading.
    text : str
        How to read it.
    views : tuple of View
        Figures that are open.
    folded : tuple of View
        Figures that a reader opens.
    """

    title: str
    text: str
    views: tuple[View, ...]
    folded: tuple[View, ...] = ()


def series_label(facts: Facts, series: Series) -> str:
    """Name a model under a condition, as short as the study allows."""
    model, condition = series
    if facts.study.study == "cross-site" and model == LOCAL:
        return condition
    conditions = {one for _, one in facts.series}
    if facts.study.study == COMPARE and model == facts.model:
        return short_condition(facts, condition)
    return model_title(model) if len(conditions) == 1 else f"{model_title(model)}, {condition}"


def group_label(by: str, group: str) -> str:
    """Name a group; all images together by what they are."""
    return attribute_title(ALL) if by == ALL else group


def sites_and_all(facts: Facts) -> list[tuple[str, str]]:
    """List the sites and then all test images, as (by, group)."""
    return [*(("site", group) for group in facts.groups("site")), (ALL, ALL)]


def lesions_note(facts: Facts, series: Series, by: str, group: str) -> Sentence:
    """Say how many lesions a group has."""
    cell = facts.cell(*series, by, group)
    if cell is None:
        return ()
    where = {
        "learner": cell.learner,
        "model": cell.model,
        "condition": cell.condition,
        "by": by,
        "group": group,
    }
    return (Tally(count(cell.lesions), "lesions", where), " lesions")


def grid_by_group(
    facts: Facts,
    groups: Sequence[tuple[str, str]],
    series: Sequence[Series],
    metric: str,
    subject: str,
) -> Grid:
    """Make a table with a row a group and a column a model.

    Parameters
    ----------
    facts : Facts
        The study.
    groups : sequence of (str, str)
        The rows, as (by, group).
    series : sequence of (str, str)
        The columns, as (model, condition).
    metric : str
        What is shown.
    subject : str
        Ends the caption, such as "by site".
    """
    rows = [
        Row(
            group_label(by, group),
            tuple(_cell(facts, one, by, group, metric) for one in series),
            lesions_note(facts, series[0], by, group) if series else (),
        )
        for by, group in groups
    ]
    columns = tuple(series_label(facts, one) for one in series)
    caption = f"{capital(describe(metric).title)} {subject}"
    return Grid(caption, "group", columns, tuple(rows)).trimmed()


def grid_by_series(
    facts: Facts,
    series: Sequence[Series],
    groups: Sequence[tuple[str, str]],
    metric: str,
    subject: str,
) -> Grid:
    """Make a table with a row a model and a column a group, as `grid_by_group` turned."""
    rows = [
        Row(
            series_label(facts, one),
            tuple(_cell(facts, one, by, group, metric) for by, group in groups),
        )
        for one in series
    ]
    columns = tuple(group_label(by, group) for by, group in groups)
    caption = f"{capital(describe(metric).title)} {subject}"
    return Grid(caption, "model", columns, tuple(rows)).trimmed()


def _cell(facts: Facts, series: Series, by: str, group: str, metric: str) -> Shown | None:
    return facts.value(*series, by, group, metric)


def capital(text: str) -> str:
    """Begin with a capital letter."""
    return text[:1].upper() + text[1:]


def shown_series(facts: Facts) -> list[Series]:
    """List models and conditions, the pooled fit left out where the federated one equals it."""
    pooled = "pooled" if facts.federated_is_pooled else None
    return [one for one in facts.series if one[0] != pooled]


def main_conditions(facts: Facts) -> list[str]:
    """List the conditions that detailed figures show: both of leave-one-site-out, else one."""
    if facts.study.study == "leave-one-site-out":
        rest = [one for one in facts.conditions if one != facts.main_condition]
        return [facts.main_condition, *rest]
    return [facts.main_condition]
