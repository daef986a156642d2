"""Values with intervals by group, models side by side: a forest plot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulations.report.figures.svg import (
    COLOURS,
    FAINT,
    INK,
    MARKERS,
    SMALL,
    WIDTH,
    Drawing,
    draw,
    wrapped,
)
from simulations.report.grid import Grid, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_STEP, _GAP, _AXIS, _LEGEND_LINE = 9.5, 9.0, 42.0, 14.0
_LABEL, _LONG_LABEL, _LEGEND = 15, 24, 54
# A label has two lines.
_LEAST_ROW = 26.0


def dot_plot(grid: Grid, axis: str, *, limits: tuple[float, float] | None = (0.0, 1.0)) -> Drawing:
    """Draw a table: a line of dots a row, one dot for each column.

    Parameters
    ----------
    grid : Grid
        Rows are the groups, columns the models.
    axis : str
        What is measured.
    limits : (float, float), optional
        Ends of the axis; None to fit them to the data.
    """
    series = len(grid.columns)
    per_row = max(series * _STEP + _GAP, _LEAST_ROW)
    characters = _LABEL if series > 1 else _LONG_LABEL
    height = _AXIS + len(grid.rows) * per_row + series * _LEGEND_LINE

    def paint(figure: Figure) -> None:
        axes = figure.add_subplot()
        handles = []
        for column in range(series):
            colour, marker = COLOURS[column % len(COLOURS)], MARKERS[column % len(MARKERS)]
            filled = colour if column < len(COLOURS) else "white"
            (handle,) = axes.plot([], [], marker, color=colour, markerfacecolor=filled, ms=5)
            handles.append(handle)
            for index, row in enumerate(grid.rows):
                cell = row.cells[column]
                if cell is None or cell.value is None:
                    continue
                y = index * per_row + column * _STEP
                _, low, high = cell.triple
                if low is not None and high is not None:
                    axes.plot([low, high], [y, y], "-", color=colour, linewidth=1.4)
                axes.plot([cell.value], [y], marker, color=colour, markerfacecolor=filled, ms=5)
        middle = (series - 1) * _STEP / 2
        axes.set_yticks(
            [index * per_row + middle for index in range(len(grid.rows))],
            [_label(row, characters) for row in grid.rows],
        )
        for index in range(1, len(grid.rows)):
            axes.axhline(index * per_row + middle - per_row / 2, color=FAINT, linewidth=0.5)
        axes.set_ylim((len(grid.rows) - 0.5) * per_row + middle, middle - per_row / 2)
        if limits is not None:
            axes.set_xlim(*limits)
        axes.grid(axis="x", color=FAINT, linewidth=0.5)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(axis)
        if series > 1:
            legend = figure.legend(
                handles,
                [wrapped(name, _LEGEND, 1) for name in grid.columns],
                loc="outside lower left",
                fontsize=SMALL,
                handlelength=1.2,
                borderpad=0.1,
                labelspacing=0.3,
            )
            for text in legend.get_texts():
                text.set_color(INK)

    return draw(WIDTH, height, grid.caption, paint)


def _label(row: Row, characters: int) -> str:
    if not row.note:
        return wrapped(row.label, characters, 2)
    return f"{wrapped(row.label, characters, 1)}\n{wrapped(row.note_text, characters, 1)}"
