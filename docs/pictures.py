"""Draw the README's pictures: ``python docs/pictures.py DEMO LEAVE_ONE_SITE_OUT``."""

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
# Name, learner where it is not the study's first, model, condition, colour and marker.
_TRAVEL = (
    ("centre left out", "", "federated", "site left out", "#0072B2", "o"),
    ("centre takes part", "", "federated", "site takes part", "#009E73", "s"),
    ("centre alone", "", "local", "site left out", "#E69F00", "^"),
    ("no image: age, sex, localisation", "baseline", "shortcut", "site left out", "#000000", "D"),
)


def terminal(run: Path, out: Path) -> None:
    """Draw what a simulation prints, as an SVG of a terminal."""
    console = Console(record=True, width=110, file=io.StringIO())
    show_result(console, _read(run), Path("runs/demo"))
    console.save_svg(str(out), title="make demo")


def travel(study: Path, out: Path) -> None:
    """Draw balanced accuracy at each centre: left out of training, taking part, and baselines."""
    from matplotlib import pyplot as plt

    result = _read(study)
    learner, metric = result["settings"]["learners"][0], "balanced_accuracy"
    cells = {
        (cell["learner"], cell["model"], cell["condition"], cell["group"]): cell
        for cell in result["cells"]
    }
    groups = [*result["cohort"]["sites"], "all"]
    figure, axis = plt.subplots(figsize=(8, 4), layout="constrained")
    for index, (name, of, model, condition, colour, marker) in enumerate(_TRAVEL):
        for row, group in enumerate(groups):
            cell = cells[of or learner, model, condition, group]
            value, low, high = cell["metrics"][metric]
            axis.errorbar(
                value, row + (index - 2) * 0.14, xerr=[[value - low], [high - value]],
                color=colour, marker=marker, linestyle="none", label=name if row == 0 else None,
            )  # fmt: skip
    lesions = [cells[learner, "federated", "site left out", g]["lesions"] for g in groups]
    names = [f"{g} ({n:,} lesions)" for g, n in zip(groups, lesions, strict=True)]
    axis.set_yticks(range(len(groups)), names)
    axis.invert_yaxis()
    axis.set(xlim=(0, 1), xlabel="balanced accuracy, 95% intervals over lesions")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, loc="upper right", fontsize="small")
    seeds = len(result["settings"]["split_seeds"])
    axis.set_title(f"{learner} head, {result['cohort']['name']}, mean of {seeds} splits by lesion")
    figure.savefig(out, dpi=120)


def _read(run: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((run / "result.json").read_text(encoding="utf-8"))
    return result


def main(demo: Path, study: Path) -> None:
    """Draw both."""
    terminal(demo, _HERE / "demo.svg")
    travel(study, _HERE / "travel.png")


if __name__ == "__main__":
    typer.run(main)
