"""Draw the README's pictures from two runs: ``python docs/pictures.py DEMO HAM10000``."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import typer
from rich.console import Console

from simulations.table import show_result

mpl.use("Agg")

_HERE = Path(__file__).parent


def terminal(run: Path, out: Path) -> None:
    """Draw what a simulation prints, as an SVG of a terminal."""
    console = Console(record=True, width=100, file=io.StringIO())
    show_result(console, _read(run), Path("runs/demo"))
    console.save_svg(str(out), title="make demo")


def by_site(run: Path, out: Path) -> None:
    """Draw balanced accuracy and AUC by site, with the pooled oracle's over all sites."""
    from matplotlib import pyplot as plt

    result = _read(run)
    groups = {**result["test"]["sites"], "all sites": result["test"]["pooled"]}
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True, layout="constrained")
    for axis, key, title in zip(
        axes, ("balanced_accuracy", "macro_auc"), ("balanced accuracy", "mean one-vs-rest AUC"),
        strict=True,
    ):  # fmt: skip
        names = [f"{name} (n={metrics['n']})" for name, metrics in groups.items()]
        values = [metrics[key] for metrics in groups.values()]
        bars = axis.barh(names, values, color=["#4C78A8"] * (len(names) - 1) + ["#2B2B2B"])
        axis.bar_label(bars, fmt="%.3f", label_type="center", color="white")
        oracle = result["oracle"]["pooled"][key]
        axis.axvline(oracle, color="#E45756", linestyle="--")
        label = f"dashed: pooled oracle over all sites, {oracle:.3f}"
        axis.set(xlim=(0, 1), title=title, xlabel=label)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].invert_yaxis()
    figure.suptitle(
        f"Federated ridge head, {result['cohort']['name']}, "
        f"split seed {result['config']['split_seed']}, test images by acquisition site"
    )
    figure.savefig(out, dpi=120)


def _read(run: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((run / "result.json").read_text(encoding="utf-8"))
    return result


def main(demo: Path, ham10000: Path) -> None:
    """Draw both."""
    terminal(demo, _HERE / "demo.svg")
    by_site(ham10000, _HERE / "ham10000.png")


if __name__ == "__main__":
    typer.run(main)
