"""Backbones x classifiers x treatments of imbalance on real images, cross-validated by lesion.

One command runs `dermafed compare` with what stands here; stopped, the same command goes on. What
is kept in ``results/`` are means over test images, of no image alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.machine import write
from common.backbones import backbone_names, get_backbone
from common.backbones.weights import PackagedFile
from simulations.studies.comparison_table import Row, rows_of

LEARNERS = (
    "logistic pca=128",
    "ridge",
    "lda",
    "svm pca=128",
    "svm kernel=rff pca=128 components=1024 alpha_per_image=1e-3",
    "forest min_leaf=3",
    "xgboost rounds=30",
    "soft-vote members=logistic:pca=128,ridge,lda",
)
TREATMENTS = ("none", "weights", "smote")
_BYTES = 2**20


def backbones() -> tuple[str, ...]:
    """Name the backbones whose weights need no download."""
    return tuple(
        name for name in backbone_names() if isinstance(get_backbone(name).weights, PackagedFile)
    )


def run(cohort: Path, out: Path, names: tuple[str, ...], turns: int) -> dict[str, Any]:
    """Run the comparison, or what is left of it, and give its result."""
    command = [str(Path(sys.executable).with_name("dermafed")), "compare", str(cohort)]
    command += ["--out", str(out), "--turns", str(turns)]
    for option, values in (
        ("--backbone", names),
        ("--learner", LEARNERS),
        ("--imbalance", TREATMENTS),
    ):
        command += [part for value in values for part in (option, value)]
    subprocess.run(command, check=True)
    found: dict[str, Any] = json.loads((out / "result.json").read_text(encoding="utf-8"))
    return found


def markdown(rows: list[Row]) -> str:
    """Write the table."""
    names = ["backbone", "classifier", "imbalance", "balanced accuracy", "AUC", "worst site"]
    names += ["rounds", "up MiB", "model MiB", "ms", "s"]
    lines = ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    for row in rows:
        worst = "-" if row.worst_site is None else f"{row.worst_site[0]} {row.worst_site[1]:.3f}"
        cells = [
            *(row.backbone, row.learner, row.treatment),
            *(_interval(row.metrics[name]) for name in ("balanced_accuracy", "macro_auc")),
            worst,
            f"{row.cost['rounds']:.0f}",
            *(f"{row.cost[name] / _BYTES:.1f}" for name in ("bytes_up", "model_bytes")),
            *(f"{row.cost[name]:.1f}" for name in ("milliseconds", "seconds")),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _interval(triple: list[float | None]) -> str:
    value, low, high = triple
    if value is None:
        return "-"
    return f"{value:.3f}" if low is None else f"{value:.3f} ({low:.3f} to {high:.3f})"


def main(
    cohort: Path,
    out: Annotated[Path, typer.Option(help="The comparison's folder, kept to go on.")] = Path(
        "runs/benchmark-classical"
    ),
    backbone: Annotated[
        list[str] | None, typer.Option(help="Once for each; those packaged if absent.")
    ] = None,
    turns: Annotated[int, typer.Option(help="Parts of the cohort that are tested.")] = 5,
    try_out: Annotated[bool, typer.Option(help="Print only; the results stay.")] = False,
) -> None:
    """Compare on the cohort in COHORT, and print the table."""
    found = run(cohort.resolve(), out, tuple(backbone or backbones()), turns)
    rows = rows_of(found)
    if not try_out:
        write(
            "classical",
            {
                "turns": turns,
                "rows": [vars(row) for row in rows],
                "baselines": [
                    {"model": cell["model"], "metrics": cell["metrics"]}
                    for cell in found["cells"]
                    if cell["model"] in ("majority", "shortcut") and cell["by"] == "all"
                ],
            },
        )
    print(markdown(rows))


if __name__ == "__main__":
    command_line = typer.Typer(pretty_exceptions_show_locals=False, add_completion=False)
    command_line.command()(main)
    command_line()
