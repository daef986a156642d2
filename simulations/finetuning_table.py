"""The table that fine-tuning in the lab ends with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from common.console import say
from simulations.as_study import FINE_TUNED, FROZEN
from simulations.table import mebibytes, score


def show_finetuning(console: Console, result: dict[str, Any], run: Path) -> None:
    """Print what fine-tuning gains over the frozen head, by site, and what it cost.

    Parameters
    ----------
    console : Console
        Where to print.
    result : dict
        What ``result.json`` holds.
    run : Path
        The run folder.
    """
    config, partition = result["config"], result["partition"]
    table = Table(
        title=f"{config['strategy']} over {partition['sites']} sites ({partition['spec']})",
        title_justify="left",
    )
    table.add_column("test images of", no_wrap=True)
    for name in ("test", "frozen head", "fine-tuned", "difference"):
        table.add_column(name, justify="right")
    for name, metrics in result["test"]["sites"].items():
        table.add_row(Text(name), f"{metrics['n']:,}", *_scores(result, "site", name))
    table.add_section()
    test = result["test"]["pooled"]
    table.add_row("all sites", f"{test['n']:,}", *_scores(result, "all", "all"))
    console.print(table)
    seconds = sum(result["seconds"][phase] for phase in result["phases"])
    rounds = len(result["history"]) - 1
    for line in (
        "balanced accuracy: mean over the classes that a row has, 95% intervals by lesion",
        (
            f"{rounds} rounds of fine-tuning, the best of them {result['best_round']} by "
            f"validation; {mebibytes(result['bytes_up'])} up, {mebibytes(result['bytes_down'])} "
            f"down, {seconds:.1f} s"
        ),
        f"run folder: {run}",
        f"report: dermafed report {run}",
    ):
        say(console, line)


def _scores(result: dict[str, Any], by: str, group: str) -> tuple[str, str, str]:
    models = {
        cell["model"]: cell["metrics"].get("balanced_accuracy")
        for cell in result["cells"]
        if (cell["by"], cell["group"]) == (by, group)
    }
    difference = next(
        (
            one["groups"][group]["difference"]
            for one in result["comparisons"]
            if (one["by"], one["metric"]) == (by, "balanced_accuracy") and group in one["groups"]
        ),
        None,
    )
    frozen, tuned = (models.get(name) for name in (FROZEN, FINE_TUNED))
    return _shown(frozen), _shown(tuned), _shown(difference, sign="+")


def _shown(interval: list[float | None] | None, sign: str = "") -> str:
    return "-" if interval is None else score(interval[0], interval, sign)
