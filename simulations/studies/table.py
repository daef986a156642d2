"""The tables that a study ends with on the terminal; the report has the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from common.console import say

_METRIC = "balanced_accuracy"


def show_study(console: Console, result: dict[str, Any], out: Path) -> None:
    """Print each group's balanced accuracy by model and condition, and where the rest lies.

    Parameters
    ----------
    console : Console
        Where to print.
    result : dict
        What ``result.json`` holds.
    out : Path
        The study's folder.
    """
    say(console, result["question"])
    by = "site" if any(cell["by"] == "site" for cell in result["cells"]) else "client"
    groups = sorted({cell["group"] for cell in result["cells"] if cell["by"] == by})
    table = Table(title="balanced accuracy, with 95% intervals", title_justify="left")
    for name in ("learner", "model", "condition"):
        table.add_column(name)
    for group in ("all", *groups):
        table.add_column(Text(group), justify="right")
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    for cell in result["cells"]:
        if cell["by"] in ("all", by):
            row = rows.setdefault((cell["learner"], cell["model"], cell["condition"]), {})
            row[cell["group"]] = _shown(cell["metrics"].get(_METRIC))
    learner: str | None = None
    for series, row in rows.items():
        if learner not in (None, series[0]):
            table.add_section()
        learner = series[0]
        cells = [row.get(group, "-") for group in ("all", *groups)]
        table.add_row(*(Text(part) for part in series), *cells)
    console.print(table)
    differ = sum(one["differ"] for one in result["exactness"])
    predictions = sum(one["predictions"] for one in result["exactness"])
    seconds = ", ".join(f"{name} {value:.0f} s" for name, value in result["seconds"].items())
    agree = f"federated and pooled differ in {differ} of {predictions:,} predictions"
    for line in (
        *((agree,) if predictions else ()),
        f"{result['fits']['this_time']} of {result['fits']['all']} fits made this time; {seconds}",
        f"folder: {out}",
        f"report: dermafed report {out}",
    ):
        say(console, line)


def _shown(interval: list[float | None] | None) -> str:
    if interval is None or interval[0] is None:
        return "-"
    value, low, high = interval
    return f"{value:.3f}" if low is None else f"{value:.3f} ({low:.3f}-{high:.3f})"
