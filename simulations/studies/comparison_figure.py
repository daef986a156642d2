"""A comparison as one figure: a heat map of classifiers and, for each backbone, treatments."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from common.whole_file import whole_file
from simulations.studies.compare import FEDERATED
from simulations.studies.fine_tuning import TUNED

FIGURE_FILE = "comparison.svg"
# Inches: a cell, a letter, a line of text, and what stands beside the cells and the names.
_WIDTH, _HEIGHT, _LETTER, _LINE, _MARGIN = 0.8, 0.45, 0.08, 0.18, 1.5
# Letters in a line of a classifier's name.
_LONGEST = 36
# Cells darker than this take white text.
_DARK = 0.55


def draw_comparison(result: dict[str, Any], out: Path) -> None:
    """Draw the balanced accuracies of a comparison to ``comparison.svg``.

    Parameters
    ----------
    result : dict
        What ``result.json`` holds.
    out : Path
        The comparison's folder.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    models = (FEDERATED, TUNED)
    cells = [one for one in result["cells"] if one["model"] in models and one["by"] == "all"]
    learners = list(dict.fromkeys(cell["learner"] for cell in cells))
    columns = list(dict.fromkeys(_column(cell) for cell in cells))
    values = np.full((len(learners), len(columns)), np.nan)
    for cell in cells:
        value = cell["metrics"].get("balanced_accuracy", [None])[0]
        if value is not None:
            values[learners.index(cell["learner"]), columns.index(_column(cell))] = value
    rows = [
        textwrap.fill(name.replace(",", ", "), _LONGEST, break_on_hyphens=False)
        for name in learners
    ]
    size = (
        _MARGIN + _LETTER * _widest(rows) + max(_WIDTH, _LETTER * _widest(columns)) * len(columns),
        1.0 + _LINE * _tallest(columns) + max(_HEIGHT, _LINE * (1 + _tallest(rows))) * len(rows),
    )
    # Text stays text, and no date or random identifier makes two drawings of one result differ.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "dermafed"}):
        figure, axes = plt.subplots(figsize=size, layout="constrained")
        image = axes.imshow(values, cmap="viridis", aspect="auto")
        low, high = image.get_clim()
        for row, column in np.ndindex(values.shape):
            value = values[row, column]
            dark = (value - low) / max(high - low, 1e-9) < _DARK
            text = "" if np.isnan(value) else f"{value:.3f}"
            colour = "white" if dark else "black"
            axes.text(column, row, text, ha="center", va="center", color=colour)
        axes.set_xticks(range(len(columns)), columns, fontsize="small")
        axes.set_yticks(range(len(rows)), rows)
        axes.set_title("Federations of all sites, cross-validated by lesion", loc="left")
        figure.colorbar(image, ax=axes, label="balanced accuracy")
        with whole_file(out / FIGURE_FILE) as partial:
            figure.savefig(partial, format="svg", metadata={"Date": None})
        plt.close(figure)


def _widest(names: list[str]) -> int:
    return max(len(line) for name in names for line in name.splitlines())


def _tallest(names: list[str]) -> int:
    return max(len(name.splitlines()) for name in names)


def _column(cell: dict[str, Any]) -> str:
    """Name a column of the figure, in lines."""
    about = cell["about"]
    backbone = about["backbone"].replace("+", "\n+")
    if cell["model"] == TUNED:
        return f"{backbone}\n{TUNED}"
    views = f"\nviews: {about['views']}" if about["views"] else ""
    return f"{backbone}\n{about['treatment']}{views}"
