"""The table that a simulation ends with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from common.console import say


def show_result(console: Console, result: dict[str, Any], run: Path) -> None:
    """Print a run's results, the oracle beside them, what it cost and where it lies.

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
        title=f"{config['learner']} over {partition['sites']} sites ({partition['spec']})",
        title_justify="left",
    )
    table.add_column("test images of", no_wrap=True)
    for name in ("images", "lesions", "test", "classes", "balanced accuracy", "AUC"):
        table.add_column(name, justify="right")
    cohort = result["cohort"]["sites"]
    for name, metrics in result["test"]["sites"].items():
        table.add_row(Text(name), *_counts(cohort[name]), *_metrics(metrics))
    table.add_section()
    table.add_row("all sites", *_counts(result["cohort"]), *_metrics(result["test"]["pooled"]))
    oracle = result["oracle"]
    table.add_row("pooled oracle", "", "", *_metrics(oracle["pooled"]))
    console.print(table)
    seconds = sum(result["seconds"][phase] for phase in result["phases"])
    lines = [
        (
            f"{result['rounds']} rounds, {_mib(result['bytes_up'])} up, "
            f"{_mib(result['bytes_down'])} down, {seconds:.1f} s"
        ),
        "balanced accuracy and AUC are means over the classes that a row has test images of",
        (
            f"against the oracle: {oracle['relative_coefficient_error']:.1e} relative difference "
            f"of coefficients, {oracle['predictions_that_differ']} predictions differ"
        ),
    ]
    lines.append(f"run folder: {run}")
    for line in lines:
        say(console, line)


def _counts(counts: dict[str, Any]) -> tuple[str, str]:
    return f"{counts['images']:,}", f"{counts['lesions']:,}"


def _metrics(metrics: dict[str, Any]) -> tuple[str, ...]:
    classes = len(metrics["confusion"])
    return (
        f"{metrics['n']:,}",
        f"{classes - len(metrics['classes_absent'])} of {classes}",
        _score(metrics["balanced_accuracy"]),
        _score(metrics["macro_auc"]),
    )


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _mib(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"
