"""What metadata add, and what of it is the site: differences with their intervals."""

from __future__ import annotations

from typing import Literal

from common.metrics import describe
from simulations.report.facts import ALL, Facts
from simulations.report.figures.dot_plot import dot_plot
from simulations.report.grid import Grid, Row
from simulations.report.numbers import Shown
from simulations.report.panels.view import Panel, View, capital
from simulations.report.schema import Gain, Triple

Kind = Literal["gain", "site_gain", "remaining", "through_site", "share"]

_COLUMNS: tuple[tuple[Kind, str], ...] = (
    ("gain", "metadata, over images alone"),
    ("site_gain", "site, over images alone"),
    ("remaining", "metadata, over images and site"),
    ("through_site", "the site's part of the gain"),
)
_OVER = {"all": "all test images", "sites": "mean over sites"}
_TEXT = (
    "What a model that knows the site's name still gains from metadata cannot be the site. The "
    "rest of the gain is the site's part: age, sex and localisation, above all where they are "
    "missing, tell where an image was taken, and the classes differ in frequency from site to "
    "site. A model that knows the site by name is for no other site."
)


def gains(facts: Facts) -> Panel:
    """Show the gains of the first learner; nothing in other studies."""
    views = []
    for metric in dict.fromkeys(one.metric for one in facts.study.gains):
        rows = [
            Row(_OVER[one.over], tuple(gain_number(one, kind) for kind, _ in _COLUMNS))
            for one in (*gains_of(facts, metric), *gains_of(facts, metric, "sites"))
        ]
        caption = f"{capital(describe(metric).title)}: gains from metadata"
        grid = Grid(caption, "over", tuple(name for _, name in _COLUMNS), tuple(rows)).trimmed()
        if not grid.empty:
            text = f"{caption}. Bars are 95% intervals over resampled lesions."
            views.append(View(dot_plot(grid, "difference", limits=None), text, grid))
    return Panel("What metadata add", _TEXT if views else "", tuple(views[:1]), tuple(views[1:]))


def gains_of(facts: Facts, metric: str, over: str = ALL) -> list[Gain]:
    """Find the gains of the first learner in a metric."""
    wanted = (facts.learner, metric, over)
    return [one for one in facts.study.gains if (one.learner, one.metric, one.over) == wanted]


def gain_number(one: Gain, kind: Kind) -> Shown:
    """Give one number of a gain."""
    triple: Triple = getattr(one, kind)
    where = {"kind": kind, "learner": one.learner, "metric": one.metric, "over": one.over}
    return Shown(triple, where, signed=kind != "share")
