"""Fine-tuning across sites: every strategy beside pooled, local and frozen, with sites left out.

Each tier is a study, or two, of `dermafed study`, run by that command; stopped, the same command
goes on. What is kept in ``results/`` are means over test images, of no image alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.machine import RESULTS, describe
from common.finetuning.strategies import STRATEGIES

_TUNED, _FROZEN, _POOLED = "fine-tuned", "frozen head", "pooled network"
_RESULT = "finetuning.json"


@dataclass(frozen=True)
class Tier:
    """One or two studies of the same settings.

    Attributes
    ----------
    title : str
        What is measured.
    strategies : tuple of str
        With their settings.
    left_out : tuple of str
        Those that are also run without each site in turn, and tested there.
    training : tuple of str
        ``key=value`` of training.
    backbone : str
        With the size of its images.
    split_seeds : tuple of int
        Repetitions, each with its own split, batches and views.
    local : bool
        Whether each site fine-tunes alone, too.
    """

    title: str
    strategies: tuple[str, ...]
    training: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    backbone: str = "efficientnet_lite0"
    split_seeds: tuple[int, ...] = (1,)
    local: bool = True


STUDY, STUDY_WITHOUT = "fine-tuning", "fine-tuning-left-out"
TIERS = {
    "strategies": Tier(
        "Every strategy, 150 steps at 112 x 84",
        tuple(STRATEGIES),
        ("plan=all:15", "steps=10", "validate_every=5"),
        tuple(STRATEGIES),
        "efficientnet_lite0+view:112x84",
    ),
    "full": Tier(
        "700 steps at 224 x 168, averaged after every 5",
        ("fedavg", "shared-moments"),
        ("plan=all:140", "steps=5", "validate_every=35"),
        backbone="efficientnet_lite0+view:224x168",
        split_seeds=(1, 3, 4),
        local=False,
    ),
    "each-step": Tier(
        "700 steps at 224 x 168, averaged after each",
        ("shared-moments",),
        ("plan=all:700", "steps=1", "validate_every=175"),
        backbone="efficientnet_lite0+view:224x168",
        split_seeds=(1, 3, 4),
        local=False,
    ),
}


def run(tier: Tier, cohort: Path, folder: Path) -> dict[str, Any]:
    """Run a tier's studies, or what is left of them, and give their results by name."""
    found = {}
    for study, strategies in ((STUDY, tier.strategies), (STUDY_WITHOUT, tier.left_out)):
        if not strategies:
            continue
        out = folder / study
        program = Path(sys.executable).with_name("dermafed")
        command = [str(program), "study", study, str(cohort)]
        command += ["--out", str(out), "--backbone", tier.backbone]
        command += [part for name in strategies for part in ("--learner", name)]
        command += [part for one in tier.training for part in ("--train", one)]
        command += [part for seed in tier.split_seeds for part in ("--split-seed", str(seed))]
        command += [] if tier.local else ["--no-local"]
        subprocess.run(command, check=True)
        found[study] = json.loads((out / "result.json").read_text(encoding="utf-8"))
    return found


def rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Make the table's rows: every model once, the frozen head of the first strategy."""
    main, left_out = found[STUDY], found.get(STUDY_WITHOUT)
    first = main["settings"]["learners"][0]
    series = dict.fromkeys((c["learner"], c["model"]) for c in main["cells"])
    made = []
    for learner, model in series:
        if model == _FROZEN and learner != first:
            continue
        sites = _balanced(main, learner, model, "site")
        seen = [one[0] for one in sites.values() if one[0] is not None]
        never = _balanced(left_out, learner, model, "site") if left_out else {}
        made.append(
            {
                "model": learner if model == _TUNED else model,
                "validation": _validation(main, learner, model),
                "all": _balanced(main, learner, model, "all")["all"],
                "sites": sites,
                "worst": min(seen),
                "left_out": {site: one[0] for site, one in never.items()},
                "left_out_mean": _mean([one[0] for one in never.values()]),
                "left_out_minus": {
                    other: _minus(left_out, learner, model, other).get("all")
                    for other in (_FROZEN, _POOLED)
                    if left_out
                },
                "minus_pooled": _minus(main, learner, model, _POOLED) or None,
                **_cost(main, learner, model),
            }
        )
    return made


def _balanced(study: dict[str, Any], learner: str, model: str, by: str) -> dict[str, Any]:
    return {
        cell["group"]: cell["metrics"]["balanced_accuracy"]
        for cell in study["cells"]
        if (cell["learner"], cell["model"], cell["by"]) == (learner, model, by)
    }


def _validation(study: dict[str, Any], learner: str, model: str) -> float | None:
    return _mean(
        [
            one["balanced_accuracy"]
            for one in study["validation"]
            if (one["learner"], one["model"]) == (learner, model)
        ]
    )


def _minus(study: dict[str, Any], learner: str, model: str, other: str) -> dict[str, Any]:
    """Give the paired differences from another model, over all images and by site."""
    return {
        name: difference["difference"]
        for one in study["comparisons"]
        if one["learner"] == learner
        and one["metric"] == "balanced_accuracy"
        and (one["a"]["model"], one["b"]["model"]) == (model, other)
        for name, difference in one["groups"].items()
    }


def _cost(study: dict[str, Any], learner: str, model: str) -> dict[str, Any]:
    for one in study["costs"]:
        if (one["learner"], one["model"]) == (learner, model):
            return {name: one[name] for name in ("rounds", "bytes_up", "bytes_down", "seconds")}
    return {}


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def markdown(table: list[dict[str, Any]]) -> str:
    """Write the table."""
    sites = list(table[0]["sites"])
    names = ["", "validation", "test", *sites, "worst", "site left out", "minus pooled"]
    names += ["rounds", "up MB", "down MB", "seconds"]
    lines = ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    for row in table:
        difference = (row["minus_pooled"] or {}).get("all")
        cells = [
            row["model"],
            _shown(row["validation"]),
            _interval(row["all"]),
            *(_shown(row["sites"][site][0]) for site in sites),
            _shown(row["worst"]),
            _shown(row["left_out_mean"]),
            _interval(difference),
            f"{row.get('rounds', 0):.0f}",
            *(f"{row.get(name, 0) / 1e6:,.0f}" for name in ("bytes_up", "bytes_down")),
            f"{row.get('seconds', 0):,.0f}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def without_markdown(table: list[dict[str, Any]]) -> str:
    """Write the table of sites left out; the differences are over all such sites' images."""
    known = sorted(
        (row for row in table if row["left_out_mean"] is not None),
        key=lambda row: -row["left_out_mean"],
    )
    names = ["without", *table[0]["sites"], "mean", "minus exact head", "minus pooled"]
    lines = ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    for row in known:
        cells = [
            row["model"],
            *(_shown(row["left_out"][site]) for site in table[0]["sites"]),
            _shown(row["left_out_mean"]),
            *(_interval(row["left_out_minus"][other]) for other in (_FROZEN, _POOLED)),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _interval(triple: list[float | None] | None) -> str:
    if triple is None or triple[0] is None:
        return "-"
    value, low, high = triple
    return f"{value:.3f}" if low is None else f"{value:.3f} ({low:.3f} to {high:.3f})"


def main(
    cohort: Path,
    out: Annotated[Path, typer.Option(help="Folder of the studies, kept to go on.")] = Path(
        "runs/benchmark-finetuning"
    ),
    only: Annotated[str, typer.Option(help=f"One of: {', '.join(TIERS)}; all if absent.")] = "",
) -> None:
    """Measure all tiers, or ONE, on the cohort in COHORT, and print their tables."""
    path = RESULTS / _RESULT
    kept = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"tiers": {}}
    for name, tier in TIERS.items():
        if only not in ("", name):
            continue
        found = run(tier, cohort.resolve(), out / name)
        table = rows(found)
        kept["tiers"][name] = {
            "title": tier.title,
            "training": tier.training,
            "backbone": tier.backbone,
            "split_seeds": tier.split_seeds,
            "machine": describe(),
            "rows": table,
        }
        path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        print(f"\n{tier.title}\n\n{markdown(table)}", flush=True)
        if tier.left_out:
            print(f"\nSites left out\n\n{without_markdown(table)}", flush=True)


if __name__ == "__main__":
    command_line = typer.Typer(pretty_exceptions_show_locals=False, add_completion=False)
    command_line.command()(main)
    command_line()
