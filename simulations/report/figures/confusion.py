"""A confusion matrix: images and the row's share, rows the truth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from simulations.report.figures.heat_map import ink_on
from simulations.report.figures.svg import SMALL, WIDTH, Drawing, draw, wrapped
from simulations.report.numbers import count

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CELL, _AROUND, _TOP = 40.0, 60.0, 40.0


def confusion(matrix: Sequence[Sequence[int]], classes: tuple[str, ...], label: str) -> Drawing:
    """Draw one confusion matrix.

    Parameters
    ----------
    matrix : sequence of sequence of int, k by k
        Images, rows the truth.
    classes : tuple of str, length k
        Class names.
    label : str
        What the figure shows.
    """
    k = len(classes)
    width = max(WIDTH, _AROUND + k * _CELL)
    cell = (width - _AROUND) / k
    height = _TOP + k * min(cell, _CELL)

    def paint(figure: Figure) -> None:
        import matplotlib as mpl
        from matplotlib.patches import Rectangle

        axes = figure.add_subplot()
        # One hue, light to dark: told apart by everybody, and most of a page stays white.
        colours = mpl.colormaps["Blues"]
        for y, row in enumerate(matrix):
            total = sum(row)
            for x, images in enumerate(row):
                share = images / total if total else 0.0
                shade = colours(share)
                axes.add_patch(
                    Rectangle((x, y), 1, 1, facecolor=shade, edgecolor="white", linewidth=1)
                )
                if not total:
                    continue
                ink = ink_on(shade)
                axes.text(x + 0.5, y + 0.34, count(images), size=SMALL, color=ink,
                          ha="center", va="center")  # fmt: skip
                axes.text(x + 0.5, y + 0.72, f"{100 * share:.0f}%", size=SMALL, color=ink,
                          ha="center", va="center")  # fmt: skip
        axes.set(xlim=(0, k), ylim=(k, 0), xlabel="predicted", ylabel="truth")
        middles = [index + 0.5 for index in range(k)]
        axes.set_xticks(middles, [wrapped(name, 8, 2) for name in classes])
        axes.set_yticks(middles, [wrapped(name, 8, 2) for name in classes])
        axes.xaxis.tick_top()
        axes.xaxis.set_label_position("top")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)

    return draw(width, height, label, paint)
