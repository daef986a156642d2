"""Lines with bands of their intervals, over a common axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simulations.report.figures.svg import (
    COLOURS,
    DASHES,
    FAINT,
    MARKERS,
    SMALL,
    WIDTH,
    Drawing,
    draw,
    wrapped,
)
from simulations.report.schema import Triple

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

_PLOT, _LEGEND_LINE, _LEGEND = 220.0, 14.0, 54


@dataclass(frozen=True)
class Series:
    """One line.

    Attributes
    ----------
    label : str
        For the legend.
    x : tuple of float
        Ascending.
    y : tuple of Triple
        Value and interval at each x.
    """

    label: str
    x: tuple[float, ...]
    y: tuple[Triple, ...]


@dataclass(frozen=True)
class Axes:
    """The two axes.

    Attributes
    ----------
    x, y : str
        What they show.
    logarithmic : bool
        Whether x is.
    marks : bool
        Whether each point has a marker, as where there are few.
    """

    x: str
    y: str
    logarithmic: bool = False
    marks: bool = True


def curves(series: Sequence[Series], axes: Axes, label: str) -> Drawing:
    """Draw lines.

    Parameters
    ----------
    series : sequence of Series
        The lines.
    axes : Axes
        Their axes.
    label : str
        What the figure shows.
    """
    height = _PLOT + len(series) * _LEGEND_LINE

    def paint(figure: Figure) -> None:
        panel = figure.add_subplot()
        handles = []
        for number, one in enumerate(series):
            colour = COLOURS[number % len(COLOURS)]
            x, value, low, high = known_points(one.x, one.y)
            (handle,) = panel.plot(
                x,
                value,
                color=colour,
                linestyle=DASHES[number % len(DASHES)],
                marker=MARKERS[number % len(MARKERS)] if axes.marks else None,
                markersize=4,
                linewidth=1.5,
            )
            handles.append(handle)
            panel.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
        if axes.logarithmic:
            panel.set_xscale("log")
            ticks = sorted({x for one in series for x in one.x})
            panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            panel.minorticks_off()
        panel.set(xlabel=axes.x, ylabel=axes.y)
        panel.grid(color=FAINT, linewidth=0.5)
        panel.set_axisbelow(True)
        panel.set_ylim(bottom=0)
        figure.legend(
            handles,
            [wrapped(one.label, _LEGEND, 1) for one in series],
            loc="outside lower left",
            fontsize=SMALL,
            handlelength=3,
            borderpad=0.1,
            labelspacing=0.3,
        )

    return draw(WIDTH, height, label, paint)


def known_points(x: Sequence[float | None], y: Sequence[Triple]) -> tuple[NDArray[np.float64], ...]:
    """Give x, value, low and high of the points that have a value; NaN where an end has none."""
    points = [(a, *b) for a, b in zip(x, y, strict=True) if a is not None and b[0] is not None]
    return tuple(np.array(points, dtype=np.float64).reshape(-1, 4).T)
