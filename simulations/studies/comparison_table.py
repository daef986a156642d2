"""A comparison on the terminal: a row a classifier and treatment, with what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from common.console import say
from common.finetuning.settings import read_training
from common.split import TURNS
from simulations.studies.compare import FEDERATED
from simulations.studies.comparison_figure import FIGURE_FILE
from simulations.studies.fine_tuning import TUNED

_METRICS = {"balanced_accuracy": "balanced accuracy", "macro_auc": "AUC"}
_BYTES = 2**20
_COLUMNS = (
    "worst site: by balanced accuracy; views: augmented ones of each training image, beside it; "
    "MiB model and ms: of network and classifier, for one image on one core; s: of one core, for "
    "one federation of the sites, features at hand"
)
# Networks that are fine-tuned draw views anew in each step.
_ALL_VIEWS = "each step"


@dataclass(frozen=True)
class Row:
    """One combination.

    Attributes
    ----------
    learner, backbone, treatment, views : str
        What it is.
    metrics : dict of str to list
        Value, low and high ends of the interval, by metric.
    worst_site : (str, float) or None
        The site with the lowest balanced accuracy.
    cost : dict of str to float
        As in ``result.json``, ``model_bytes`` and ``milliseconds`` with the network's.
    """

    learner: str
    backbone: str
    treatment: str
    views: str
    metrics: dict[str, list[float | None]]
    worst_site: tuple[str, float] | None
    cost: dict[str, float]


def rows_of(result: dict[str, Any]) -> list[Row]:
    """List the combinations of a comparison's result, the best balanced accuracy first."""
    key = ("learner", "model", "condition")
    cells = [cell for cell in result["cells"] if cell["model"] in (FEDERATED, TUNED)]
    costs = {tuple(cost[name] for name in key): cost for cost in result["costs"]}
    sites: dict[tuple[str, ...], list[tuple[float, str]]] = {}
    for cell in cells:
        value = cell["metrics"].get("balanced_accuracy", [None])[0]
        if cell["by"] == "site" and value is not None:
            name = tuple(cell[part] for part in key)
            sites.setdefault(name, []).append((value, cell["group"]))
    rows = []
    for cell in cells:
        if cell["by"] != "all":
            continue
        name = tuple(cell[part] for part in key)
        worst = min(sites.get(name, []), default=None)
        about, tuned = cell["about"], cell["model"] == TUNED
        rows.append(
            Row(
                cell["learner"],
                about["backbone"],
                about["treatment"],
                _ALL_VIEWS if tuned else str(about["views"]),
                {metric: cell["metrics"].get(metric, [None, None, None]) for metric in _METRICS},
                None if worst is None else (worst[1], worst[0]),
                _with_network(costs[name], result, about["backbone"], tuned=tuned),
            )
        )
    return sorted(rows, key=lambda row: -(row.metrics["balanced_accuracy"][0] or 0.0))


def _with_network(
    cost: dict[str, float], result: dict[str, Any], backbone: str, *, tuned: bool
) -> dict[str, float]:
    network = result["networks"][backbone]
    # What is fine-tuned predicts an image and, unless told otherwise, its mirror image.
    passes = 2 if tuned and read_training(result["settings"]["training"]).flip_average else 1
    return {
        **cost,
        "model_bytes": cost["model_bytes"] + network["bytes"],
        "milliseconds": cost["milliseconds"] + passes * network["milliseconds"],
    }


def show_comparison(console: Console, result: dict[str, Any], out: Path) -> None:
    """Print the combinations, best first, and where the rest lies.

    Parameters
    ----------
    console : Console
        Where to print.
    result : dict
        What ``result.json`` holds.
    out : Path
        The comparison's folder.
    """
    turns = result["settings"]["turns"]
    tested = "every image tested once" if turns == TURNS else f"{turns} of {TURNS} parts tested"
    table = Table(title=f"{tested}, with 95% intervals", title_justify="left")
    for name in ("backbone", "classifier", "imbalance", "views"):
        table.add_column(name)
    for name in (*_METRICS.values(), "worst site", "rounds", "MiB up", "MiB model", "ms", "s"):
        table.add_column(name, justify="right")
    for row in rows_of(result):
        worst = "-" if row.worst_site is None else f"{row.worst_site[0]} {row.worst_site[1]:.3f}"
        cost = row.cost
        table.add_row(
            *(Text(part) for part in (row.backbone, row.learner, row.treatment, row.views)),
            *(_shown(row.metrics[metric]) for metric in _METRICS),
            Text(worst),
            f"{cost['rounds']:.0f}",
            f"{cost['bytes_up'] / _BYTES:.1f}",
            f"{cost['model_bytes'] / _BYTES:.1f}",
            f"{cost['milliseconds']:.1f}",
            f"{cost['seconds']:.1f}",
        )
    console.print(table)
    for line in (
        _COLUMNS,
        *(f"{_words(cell)}" for cell in _baselines(result)),
        f"{result['fits']['this_time']} of {result['fits']['all']} fits made this time",
        f"folder: {out}, figure: {FIGURE_FILE}",
    ):
        say(console, line)


def _baselines(result: dict[str, Any]) -> list[dict[str, Any]]:
    models = (FEDERATED, TUNED)
    return [one for one in result["cells"] if one["model"] not in models and one["by"] == "all"]


def _words(cell: dict[str, Any]) -> str:
    value = _shown(cell["metrics"].get("balanced_accuracy", [None, None, None]))
    return f"without looking at any image ({cell['model']}): balanced accuracy {value}"


def _shown(interval: list[float | None]) -> str:
    value, low, high = interval
    if value is None:
        return "-"
    return f"{value:.3f}" if low is None else f"{value:.3f} ({low:.3f}-{high:.3f})"
