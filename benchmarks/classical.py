"""Classical heads on frozen features of real images, cross-validated by lesion, in three parts.

Each part is a run of `dermafed compare` with what stands here; stopped, the same command goes on.
What is kept in ``results/`` are means over test images, of no image alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.machine import write
from common.backbones import backbone_names, get_backbone
from common.backbones.weights import PackagedFile
from simulations.studies.comparison_table import Row, rows_of

RIDGE = "ridge alpha_per_image=1"
LEVELS = "levels:5+truncate:8"
SMALL = "view:112x84"
_BYTES = 2**20


@dataclass(frozen=True)
class Part:
    """What one run of `dermafed compare` compares; see its options."""

    backbones: tuple[str, ...]
    learners: tuple[str, ...]
    treatments: tuple[str, ...]
    views: tuple[str, ...] = ("0",)
    strategies: tuple[str, ...] = ()
    training: tuple[str, ...] = ()


class PartName(StrEnum):
    """The parts, and the names of their results."""

    TABLE = "classical"
    LEVELS = "classical-levels"
    TUNED = "classical-fine-tuned"


PARTS = {
    # Every backbone whose weights need no download.
    PartName.TABLE: Part(
        tuple(
            name
            for name in backbone_names()
            if isinstance(get_backbone(name).weights, PackagedFile)
        ),
        (
            "logistic pca=128",
            "ridge",
            "lda",
            "svm pca=128",
            "svm kernel=rff pca=128 components=1024 alpha_per_image=1e-3",
            "forest min_leaf=3",
            "xgboost rounds=30",
            "soft-vote members=logistic:pca=128,ridge,lda",
        ),
        ("none", "weights", "smote"),
    ),
    # What earlier stages, and then a larger view and mirror images, add to one linear head.
    PartName.LEVELS: Part(
        (
            "efficientnet_lite0",
            f"efficientnet_lite0+{LEVELS}",
            f"efficientnet_lite0+flip+{LEVELS}+view:320x240",
        ),
        (
            RIDGE,
            "logistic pca=256 alpha_per_image=0.03",
            "lda",
            "soft-vote members=ridge:alpha_per_image=1,lda,logistic:pca=256:alpha_per_image=0.03",
        ),
        ("weights",),
    ),
    # As many steps, of as small images, as `benchmarks.finetuning` gives every strategy.
    PartName.TUNED: Part(
        (f"efficientnet_lite0+{SMALL}", f"efficientnet_lite0+{LEVELS}+{SMALL}"),
        (RIDGE, "tuned learner=ridge space=alpha_per_image=0.1|0.3|1|3 folds=3"),
        ("weights",),
        views=("0", "4"),
        strategies=("fedavg",),
        training=("plan=all:15", "steps=10", "validate_every=5"),
    ),
}


def run(cohort: Path, out: Path, part: Part, turns: int) -> dict[str, Any]:
    """Run the comparison, or what is left of it, and give its result."""
    command = [str(Path(sys.executable).with_name("dermafed")), "compare", str(cohort)]
    command += ["--out", str(out), "--turns", str(turns)]
    for option, values in (
        ("--backbone", part.backbones),
        ("--learner", part.learners),
        ("--imbalance", part.treatments),
        ("--views", part.views),
        ("--strategy", part.strategies),
        ("--train", part.training),
    ):
        command += [word for value in values for word in (option, value)]
    subprocess.run(command, check=True)
    found: dict[str, Any] = json.loads((out / "result.json").read_text(encoding="utf-8"))
    return found


def markdown(rows: list[Row]) -> str:
    """Write the table."""
    names = [
        "backbone",
        "classifier",
        "imbalance",
        "views",
        "balanced accuracy",
        "AUC",
        "worst site",
    ]
    names += ["rounds", "up MiB", "model MiB", "ms", "s"]
    lines = ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    for row in rows:
        worst = "-" if row.worst_site is None else f"{row.worst_site[0]} {row.worst_site[1]:.3f}"
        cells = [
            *(row.backbone, row.learner, row.treatment, row.views),
            *(_interval(row.metrics[name]) for name in ("balanced_accuracy", "macro_auc")),
            worst,
            f"{row.cost['rounds']:.0f}",
            *(f"{row.cost[name] / _BYTES:.1f}" for name in ("bytes_up", "model_bytes")),
            *(f"{row.cost[name]:.1f}" for name in ("milliseconds", "seconds")),
        ]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _interval(triple: list[float | None]) -> str:
    value, low, high = triple
    if value is None:
        return "-"
    return f"{value:.3f}" if low is None else f"{value:.3f} ({low:.3f} to {high:.3f})"


def main(
    cohort: Path,
    out: Annotated[Path, typer.Option(help="The comparisons' folders, kept to go on.")] = Path(
        "runs/benchmark-classical"
    ),
    only: Annotated[list[PartName] | None, typer.Option(help="One part; once for each.")] = None,
    turns: Annotated[int, typer.Option(help="Parts of the cohort that are tested.")] = 5,
    try_out: Annotated[bool, typer.Option(help="Print only; the results stay.")] = False,
) -> None:
    """Compare on the cohort in COHORT, and print the tables."""
    for name in only or PartName:
        found = run(cohort.resolve(), out / name, PARTS[name], turns)
        rows = rows_of(found)
        if not try_out:
            write(
                name,
                {
                    "turns": turns,
                    "rows": [vars(row) for row in rows],
                    "baselines": [
                        {"model": cell["model"], "metrics": cell["metrics"]}
                        for cell in found["cells"]
                        if cell["model"] in ("majority", "shortcut") and cell["by"] == "all"
                    ],
                    "differences": [
                        {name: one[name] for name in ("learner", "a", "b")}
                        | {"difference": one["groups"]["all"]["difference"]}
                        for one in found["comparisons"]
                        if (one["metric"], one["by"]) == ("balanced_accuracy", "all")
                    ],
                },
            )
        print(f"\n{name}\n\n{markdown(rows)}")


if __name__ == "__main__":
    command_line = typer.Typer(pretty_exceptions_show_locals=False, add_completion=False)
    command_line.command()(main)
    command_line()
