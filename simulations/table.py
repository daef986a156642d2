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
    of = {(cell["by"], cell["group"]): cell["metrics"] for cell in result["cells"]}
    for name, metrics in result["test"]["sites"].items():
        row = _metrics(metrics, of.get(("site", name)))
        table.add_row(Text(name), *_counts(cohort[name]), *row)
    table.add_section()
    row = _metrics(result["test"]["pooled"], of.get(("all", "all")))
    table.add_row("all sites", *_counts(result["cohort"]), *row)
    oracle = result["oracle"]
    if oracle is not None:
        table.add_row("pooled oracle", "", "", *_metrics(oracle["pooled"]))
    if result["selection"]:
        console.print(_selection(result["selection"]))
    console.print(table)
    seconds = sum(result["seconds"][phase] for phase in result["phases"])
    stages = ", ".join(f"{name} {count}" for name, count in result["stages"].items())
    lines = [
        (
            f"{result['rounds']} rounds ({stages}), {mebibytes(result['bytes_up'])} up, "
            f"{mebibytes(result['bytes_down'])} down, {seconds:.1f} s"
        ),
        "balanced accuracy and AUC: means over the classes that a row has, 95% intervals by lesion",
        _against(config["learner"], oracle),
    ]
    if result["test"]["from_sums"]["pooled"]["images_withheld"] or config["disclosure"] != "exact":
        lines.append(_withheld(result))
    lines.append(f"run folder: {run}")
    for line in lines:
        say(console, line)


def _against(learner: str, oracle: dict[str, Any] | None) -> str:
    if oracle is None:
        return f"no pooled oracle: {learner} has none with these settings"
    error, differ = oracle["relative_coefficient_error"], oracle["predictions_that_differ"]
    coefficients = "" if error is None else f"{error:.1e} relative difference of coefficients, "
    short = "" if oracle["converged"] else " (the oracle stopped short of its own tolerance)"
    return f"against the oracle: {coefficients}{differ} predictions differ{short}"


def _withheld(result: dict[str, Any]) -> str:
    """Say what the coordinator could tell with what the sites withhold."""
    told = result["test"]["from_sums"]["pooled"]
    cells = sum(len(cells) for cells in result["partition"]["withheld"].values())
    low, high = told["balanced_accuracy_bounds"] or (float("nan"), float("nan"))
    return (
        f"guarded: {cells} small cells of images withheld before the sums, and "
        f"{told['images_withheld']} of {told['n']} test images within the results; from the sums "
        f"alone, the balanced accuracy is {low:.3f} to {high:.3f}"
    )


def _selection(selection: dict[str, Any]) -> Table:
    """Show a search: each value's mean score over folds, and its standard error."""
    metric = "log_loss" if "log_loss" in selection else "balanced_accuracy"
    table = Table(title="choice by folds", title_justify="left")
    for name in ("value", metric.replace("_", " "), "standard error", ""):
        table.add_column(name, justify="right")
    for value, mean, error in zip(
        selection["values"],
        selection[metric],
        selection["standard_error"],
        strict=True,
    ):
        mark = "chosen" if value == selection["chosen"] else ""
        told = value if isinstance(value, str) else f"{value:.4g}"
        table.add_row(told, f"{mean:.4f}", f"{error:.4f}", mark)
    return table


def _counts(counts: dict[str, Any]) -> tuple[str, str]:
    return f"{counts['images']:,}", f"{counts['lesions']:,}"


def _metrics(
    metrics: dict[str, Any], intervals: dict[str, list[float | None]] | None = None
) -> tuple[str, ...]:
    classes = len(metrics["confusion"])
    return (
        f"{metrics['n']:,}",
        f"{classes - len(metrics['classes_absent'])} of {classes}",
        *(
            score(metrics[name], (intervals or {}).get(name))
            for name in ("balanced_accuracy", "macro_auc")
        ),
    )


def score(value: float | None, interval: list[float | None] | None = None, sign: str = "") -> str:
    """Write a metric with its interval; ``sign="+"`` writes the sign of either.

    Parameters
    ----------
    value : float or None
        The metric.
    interval : list of float or None
        Value, low and high end; None for none.
    sign : str
        As in a format.
    """
    if value is None:
        return "-"
    if interval is None or interval[1] is None:
        return f"{value:{sign}.3f}"
    return f"{value:{sign}.3f} ({interval[1]:{sign}.3f} to {interval[2]:{sign}.3f})"


def mebibytes(count: int) -> str:
    """Write a number of bytes."""
    return f"{count / 2**20:.1f} MiB"
