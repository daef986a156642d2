"""The table that a simulation ends with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


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
    table.add_column("test images of")
    for name in ("images", "lesions", "test", "balanced accuracy", "AUC"):
        table.add_column(name, justify="right")
    cohort = result["cohort"]["sites"]
    for name, metrics in result["test"]["sites"].items():
        table.add_row(name, *_counts(cohort[name]), *_metrics(metrics))
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
        (
            f"against the oracle: {oracle['relative_coefficient_error']:.1e} relative difference "
            f"of coefficients, {oracle['predictions_that_differ']} predictions differ"
        ),
    ]
    absent = [
        f"{name} lacks {', '.join(metrics['classes_absent'])}"
        for name, metrics in result["test"]["sites"].items()
        if metrics["classes_absent"]
    ]
    if absent:
        lines.append(f"classes without a test image are left out of a mean: {'; '.join(absent)}")
    lines.append(f"run folder: {run}")
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def _counts(counts: dict[str, Any]) -> tuple[str, str]:
    return f"{counts['images']:,}", f"{counts['lesions']:,}"


def _metrics(metrics: dict[str, Any]) -> tuple[str, str, str]:
    return f"{metrics['n']:,}", _score(metrics["balanced_accuracy"]), _score(metrics["macro_auc"])


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _mib(count: int) -> str:
    return f"{count / 2**20:.1f} MiB"
