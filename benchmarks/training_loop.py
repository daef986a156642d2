"""What the federated loop of fine-tuning adds to its gradient steps, and what kept maps save.

The loop's reference is `benchmarks.bare_training`, which takes the same steps. Ours is the
ServerApp over sites that answer in the same process: messages are encoded and checked, and sites'
optimisers and the run's checkpoint come to lie on disk in each round. Both run in turn, on as many
threads. They end at the same weights but for rounding, which is measured, too. Rounds are timed
from the end of one to the end of the next, without validation; that is told apart.

The reference of a round with kept maps, at the depth of one stage, is the round without them, on
the same images. It is timed from the coordinator's weights to its new ones.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer

from benchmarks.bare_training import BareTraining
from benchmarks.federated_training import federate, make_round
from benchmarks.machine import describe, median, write
from client.site import Site, make_site
from client.training.trainer import precision_of
from common.backbones import get_backbone
from common.cohort import load_cohort
from common.feature_cache import FeatureCache, default_cache
from common.features import extract, no_progress
from common.finetuning.network import build_network, read_tensors
from common.finetuning.settings import read_training
from common.learners.base import Arrays
from common.partition import make_partition
from common.sources.embedded import embedded_cohort
from common.split import Split


def make_sites(cohort: Path | None, backbone_name: str) -> list[Site]:
    """Make the sites of a cohort, or of the embedded one, with all pixels decoded."""
    backbone = get_backbone(backbone_name)
    table = load_cohort(cohort or embedded_cohort(default_cache(), no_progress))
    x = extract(table.path, backbone, FeatureCache(default_cache(), backbone)).x
    shared = make_partition("site", table, 0)
    sites = [
        make_site(name, table, rows, x[rows], backbone, split_seed=1)
        for name, rows in zip(shared.names, shared.rows, strict=True)
    ]
    for site in sites:
        site.pixels.take(np.arange(len(site.rows)))
    return sites


def measure_loop(
    sites: list[Site], steps: int, batch: int, rounds: int, repeats: int
) -> dict[str, Any]:
    """Compare the federated loop with the bare one."""
    # Both once before: memory is taken, and kernels are chosen. After one round the weights must be
    # the same; later, a rounding of the mean grows as it does in any training.
    once = f"plan=all:1 steps=2 batch={batch}"
    first = federate(sites, once)
    head = first.head
    _, alone = BareTraining(sites, once, 0, head).run()
    # One round more than is timed; none but the last is validated.
    text = f"plan=all:{rounds + 1} steps={steps} batch={batch} validate_every={rounds + 2}"
    ours, theirs, runs = [], [], []
    weights: Arrays = {}
    for _ in range(repeats):
        runs.append(federate(sites, text))
        seconds, weights = BareTraining(sites, text, 0, head).run()
        ours.append(sum(runs[-1].seconds) / rounds)
        theirs.append(sum(seconds[:-1]) / rounds)
        print(f"loop: {ours[-1]:.2f} s a round, bare {theirs[-1]:.2f} s", flush=True)
    state = build_network(sites[0].backbone, len(sites[0].classes)).state_dict()
    begun = {**read_tensors({name: state[name] for name in weights}), **head}
    return {
        "reference": "the same steps in bare PyTorch, in the same process, seconds a round",
        "rounds": rounds,
        "reference_seconds": round(median(theirs), 3),
        "seconds": round(median(ours), 3),
        **_ratios(ours, theirs),
        "added_seconds": round(median([a - b for a, b in zip(ours, theirs, strict=True)]), 3),
        "largest_difference_after_one_round": _largest(first.weights, alone),
        "largest_difference_of_weights": _largest(runs[-1].weights, weights),
        "largest_change_of_weights": _largest(weights, begun),
        **runs[-1].apart,
    }


def measure_kept(
    sites: list[Site], steps: int, batch: int, views: int, repeats: int
) -> dict[str, Any]:
    """Compare a round at one stage's depth with kept maps to the same round without."""
    training = f"plan=1:1 steps={steps} batch={batch}"
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        plain = make_round(sites, training, Path(one))
        kept = make_round(sites, f"{training} views={views}", Path(other))
        plain()
        filling = _seconds(kept)
        slow, fast = [], []
        for _ in range(repeats):
            slow.append(_seconds(plain))
            fast.append(_seconds(kept))
            print(f"one stage: {fast[-1]:.2f} s, without kept maps {slow[-1]:.2f} s", flush=True)
    return {
        "reference": "the same round without kept maps, in the same process, seconds",
        "views": views,
        "maps": views * sum(int(site.member(Split.TRAIN).sum()) for site in sites),
        "filling_seconds": round(filling, 3),
        "reference_seconds": round(median(slow), 3),
        "seconds": round(median(fast), 3),
        **_ratios(slow, fast),
    }


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _ratios(above: list[float], below: list[float]) -> dict[str, float]:
    found = [a / b for a, b in zip(above, below, strict=True)]
    return {
        "ratio_median": round(median(found), 4),
        "ratio_min": round(min(found), 4),
        "ratio_max": round(max(found), 4),
    }


def _largest(one: Arrays, other: Arrays) -> float:
    if one.keys() != other.keys():
        raise ValueError(f"other arrays: {sorted(one.keys() ^ other.keys())}")
    # Against the largest of its array: scales of norms reach 100, most weights stay below 1.
    return max(float(np.abs(one[n] - other[n]).max() / np.abs(other[n]).max()) for n in one)


def main(
    cohort: Annotated[Path | None, typer.Argument(help="The embedded one if absent.")] = None,
    backbone: str = "efficientnet_lite0+view:224x168",
    rounds: int = 2,
    steps: int = 25,
    batch: int = 32,
    views: int = 4,
    repeats: int = 3,
    threads: int = 1,
    try_out: Annotated[bool, typer.Option(help="Print only; the results stay.")] = False,
) -> None:
    """Measure both; BATCH is that of all sites together."""
    torch.set_num_threads(threads)
    sites = make_sites(cohort, backbone)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    result = {
        "backbone": backbone,
        "sites": {site.name: int(site.member(Split.TRAIN).sum()) for site in sites},
        "steps": steps,
        "batch": batch,
        "device": device,
        "precision": str(precision_of(read_training("").precision, device)),
        "threads": threads,
        "repeats": repeats,
        "loop": measure_loop(sites, steps, batch, rounds, repeats),
        "kept_maps": measure_kept(sites, steps, batch, views, repeats),
    }
    if try_out:
        print(json.dumps({"machine": describe(), **result}, indent=2))
    else:
        write("training_loop", result)


if __name__ == "__main__":
    command_line = typer.Typer(pretty_exceptions_show_locals=False, add_completion=False)
    command_line.command()(main)
    command_line()
