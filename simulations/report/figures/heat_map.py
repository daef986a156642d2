"""A table as a heat map: each cell carries its value and interval as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from simulations.report.figures.svg import SMALL, TEXT, WIDTH, Drawing, draw, wrapped
from simulations.report.grid import Grid
from simulations.report.numbers import Shown, format_number

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# A cell holds ".12–.34" in the smallest type.
_CELL_WIDTH, _CELL_HEIGHT = 44.0, 31.0
_LABEL_WIDTH, _CHARACTER = 92.0, 6.2
_AROUND = 78.0
# Few enough for matplotlib to draw the scale as shapes; finer ones become an image.
_STEPS = 32


def heat_map(grid: Grid, scale: str) -> Drawing:
    """Draw a table's values.

    Parameters
    ----------
    grid : Grid
        Rows and columns as they are drawn.
    scale : str
        What the colours mean.
    """
    columns, rows = len(grid.columns), len(grid.rows)
    width = max(WIDTH, _LABEL_WIDTH + columns * _CELL_WIDTH)
    characters = int((width - columns * _CELL_WIDTH) / _CHARACTER)
    height = _AROUND + rows * _CELL_HEIGHT
    known = [c.value for row in grid.rows for c in row.cells if c is not None]
    values = [value for value in known if value is not None]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    span = max(high - low, 1e-9)

    def paint(figure: Figure) -> None:
        import matplotlib as mpl
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize
        from matplotlib.patches import Rectangle

        axes = figure.add_subplot()
        viridis = mpl.colormaps["viridis"].resampled(_STEPS)
        for y, row in enumerate(grid.rows):
            for x, cell in enumerate(row.cells):
                value = None if cell is None else cell.value
                if cell is None or value is None:
                    axes.add_patch(
                        Rectangle(
                            (x, y),
                            1,
                            1,
                            facecolor="white",
                            edgecolor="#8a8a8a",
                            linewidth=0.5,
                            hatch="///",
                        )
                    )
                    continue
                shade = viridis((value - low) / span)
                axes.add_patch(
                    Rectangle((x, y), 1, 1, facecolor=shade, edgecolor="white", linewidth=1)
                )
                _write(axes, x, y, cell, ink_on(shade))
        axes.set(xlim=(0, columns), ylim=(rows, 0))
        axes.set_xticks(
            [x + 0.5 for x in range(columns)], [wrapped(name, 9) for name in grid.columns]
        )
        axes.set_yticks(
            [y + 0.5 for y in range(rows)],
            [wrapped(row.label, characters, 2) for row in grid.rows],
        )
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        colours = ScalarMappable(Normalize(low, low + span), viridis)
        bar = figure.colorbar(colours, ax=axes, location="bottom", aspect=40, pad=0.02)
        bar.set_label(scale)
        bar.outline.set_visible(False)
        if bar.solids is not None:
            # No white line between two steps.
            bar.solids.set_edgecolor("face")

    return draw(width, height, grid.caption, paint)


def _write(axes: Axes, x: int, y: int, cell: Shown, ink: str) -> None:
    middle = x + 0.5
    mark = "†" if cell.few else ""
    if not cell.has_interval:
        axes.text(middle, y + 0.5, bare(cell.value), size=TEXT, color=ink, ha="center", va="center")
        return
    _, low, high = cell.triple
    axes.text(middle, y + 0.32, bare(cell.value) + mark, size=TEXT, weight="bold", color=ink,
              ha="center", va="center")  # fmt: skip
    axes.text(middle, y + 0.72, f"{bare(low)}–{bare(high)}", size=SMALL, color=ink,
              ha="center", va="center")  # fmt: skip


def bare(value: float | None) -> str:
    """Write two digits without the zero before the point, where room is short."""
    text = format_number(value, 2)
    return text.replace("0.", ".", 1) if text.lstrip("\N{MINUS SIGN}").startswith("0.") else text


def ink_on(shade: Sequence[float]) -> str:
    """Choose black or white, whichever stands out more (WCAG 2.1, relative luminance).

    Of the two, one always has a contrast of at least 4.58 to 1.
    """
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shade[:3]]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return "black" if (luminance + 0.05) / 0.05 >= 1.05 / (luminance + 0.05) else "white"
