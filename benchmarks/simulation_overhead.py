"""What a simulated federation costs over the plain numpy computation of the same sums.

For 4, 100 and 1,000 sites over one set of random features: the reference adds the same two rounds
of sums and solves, in one process, with plain numpy on all cores; ours runs the coordinator's and
the sites' code over Ray actors; beside it, Flower's stock simulation engine runs the same. Only
learning is compared; the time with start-up, join and evaluation is told apart. Ours holds
features in memory; the stock engine keeps nothing between messages, so that a site opens its file,
which the system holds in memory, anew.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import typer

from benchmarks.machine import median, write
from client.site import Site
from client.training.pixels import Pixels
from common.backbones import get_backbone
from common.disclosure import EXACT
from common.metrics import seed_key
from common.settings import RunSettings
from common.split import Split

CLASSES = ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")
IMAGES = 10_000
TRAIN_SHARE = 0.7


def make_features(folder: Path) -> None:
    """Write random features, labels and parts of the split, of HAM10000's size."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((IMAGES, get_backbone("efficientnet_lite0").dimension))
    np.save(folder / "x.npy", x.astype(np.float32))
    np.save(folder / "y.npy", rng.integers(0, len(CLASSES), IMAGES))
    np.save(folder / "split.npy", np.where(rng.random(IMAGES) < TRAIN_SHARE, "train", "test"))


def make_site(folder: Path, index: int, sites: int) -> Site:
    """Open one site over every `sites`-th image."""
    rows = np.arange(index, IMAGES, sites)
    x = np.load(folder / "x.npy", mmap_mode="r")[rows]
    y, split = np.load(folder / "y.npy")[rows], np.load(folder / "split.npy")[rows]
    return Site(
        name=f"site-{index:04d}",
        classes=CLASSES,
        malignant=(),
        backbone=get_backbone("efficientnet_lite0"),
        split_seed=1,
        rows=rows,
        x=np.asarray(x),
        y=y,
        group=rows.astype(np.str_),
        split=split,
        fold=None,
        kept=np.ones(len(rows), dtype=np.bool_),
        disclosure=EXACT,
        resample_key=seed_key(0),
        lesions=len(rows),
        unreadable=(),
        pixels=Pixels((), get_backbone("efficientnet_lite0").transform),
    )


def numpy_seconds(folder: Path, sites: int) -> float:
    """Time the same two rounds of sums, and the solution, in plain numpy."""
    parts = [make_site(folder, index, sites).part(Split.TRAIN) for index in range(sites)]
    start = time.perf_counter()
    n, counts, total, squares = 0, np.zeros(len(CLASSES)), np.zeros(1), np.zeros(1)
    for part in parts:
        x = part.x.astype(np.float64)
        n += len(x)
        counts += np.bincount(part.y, minlength=len(CLASSES))
        total, squares = total + x.sum(axis=0), squares + (x * x).sum(axis=0)
    mean = total / n
    scale = np.sqrt(squares / n - mean * mean)
    weight = n / (len(CLASSES) * counts)
    dimension = len(mean)
    gram, right = np.zeros((dimension + 1, dimension + 1)), np.zeros((dimension + 1, len(CLASSES)))
    for part in parts:
        z = np.column_stack([(part.x.astype(np.float64) - mean) / scale, np.ones(len(part.x))])
        weighted = z * weight[part.y][:, None]
        gram += weighted.T @ z
        right += weighted.T @ (2.0 * (part.y[:, None] == np.arange(len(CLASSES))) - 1.0)
    gram[np.arange(dimension), np.arange(dimension)] += n
    np.linalg.solve(gram, right)
    return time.perf_counter() - start


def _settings(sites: int) -> RunSettings:
    return RunSettings(sites=sites, learner_settings="calibrate=none")


def ours(folder: Path, sites: int) -> dict[str, float]:
    """Time the federation over Ray actors."""
    import ray

    from benchmarks.bench_host import BenchHost
    from server.federation import run_federation
    from simulations.hosts import FIRST_NODE_ID
    from simulations.ray_grid import RayGrid
    from simulations.ray_session import ray_session

    begin = time.perf_counter()
    with ray_session(None) as cpus, tempfile.TemporaryDirectory() as out:
        actor: Any = ray.remote(num_cpus=1)(BenchHost)
        hosts = [actor.remote(_settings(sites)) for _ in range(min(cpus, sites))]
        owner = {index + FIRST_NODE_ID: index % len(hosts) for index in range(sites)}
        opened = [hosts[host].open.remote(str(folder), node, sites) for node, host in owner.items()]
        ray.get(opened)
        grid = RayGrid({node: hosts[host] for node, host in owner.items()})
        result = run_federation(grid, _settings(sites), Path(out), lambda _line: None)
        whole = time.perf_counter() - begin
    return {"learn": result["seconds"]["learn"], "whole": whole}


def stock(folder: Path, sites: int) -> dict[str, float]:
    """Time the same coordinator and sites on Flower's own simulation engine."""
    from flwr.app import Context
    from flwr.serverapp import Grid, ServerApp
    from flwr.simulation import run_simulation

    from client.app import make_app, trainer_of_node
    from server.federation import run_federation

    seconds: dict[str, float] = {}
    server_app = ServerApp()
    begin = time.perf_counter()

    @server_app.main()
    def main(grid: Grid, context: Context) -> None:  # noqa: ARG001
        with tempfile.TemporaryDirectory() as out:
            result = run_federation(grid, _settings(sites), Path(out), lambda _line: None)
        seconds.update(learn=result["seconds"]["learn"], whole=time.perf_counter() - begin)

    def open_site(context: Context) -> Site:
        return make_site(folder, int(context.node_config["partition-id"]), sites)

    run_simulation(
        server_app,
        make_app(open_site, trainer_of_node),
        num_supernodes=sites,
        backend_config={"client_resources": {"num_cpus": 1}, "init_args": {"address": "local"}},
    )
    return seconds


def _in_a_process(kind: str, folder: Path, sites: int, limit: float) -> dict[str, float] | None:
    """Run one engine in a process of its own; None when it fails or exceeds the limit."""
    command = [sys.executable, "-m", "benchmarks.simulation_overhead"]
    arguments = ["--kind", kind, "--folder", str(folder), "--sites", str(sites)]
    try:
        done = subprocess.run(
            [*command, *arguments],
            capture_output=True,
            text=True,
            timeout=limit,
            check=True,
            env={**os.environ, "FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"},
        )
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"{kind}, {sites} sites: {error}\n{str(error.stderr)[-2000:]}\n")
        return None
    # Flower's actors may have the last word; the result is the line of JSON.
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    times: dict[str, float] = json.loads(lines[-1])
    return times


def main(
    kind: str = "",
    folder: Path = Path(),
    sites: int = 0,
    repeats: int = 3,
    limit: float = 600.0,
) -> None:
    """Measure all; with KIND, one engine once (used by the benchmark itself)."""
    if kind:
        print(json.dumps({"ours": ours, "stock": stock}[kind](folder, sites)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as made:
        where = Path(made)
        make_features(where)
        for count in (4, 100, 1_000):
            plain, federated, stocks = [], [], []
            for _ in range(repeats):
                plain.append(numpy_seconds(where, count))
                federated.append(_in_a_process("ours", where, count, limit))
                stocks.append(_in_a_process("stock", where, count, limit))
            rows.append(_row(count, plain, federated, stocks))
    write(
        "simulation_overhead",
        {
            "reference": "the same sums and solution in plain numpy, one process, seconds",
            "images": IMAGES,
            "repeats": repeats,
            "sites": rows,
        },
    )


def _row(
    count: int,
    plain: list[float],
    federated: list[dict[str, float] | None],
    stocks: list[dict[str, float] | None],
) -> dict[str, Any]:
    def of(times: list[dict[str, float] | None], name: str) -> float | None:
        found = [time_[name] for time_ in times if time_ is not None]
        return round(median(found), 3) if found else None

    reference = median(plain)
    learn, stock_learn = of(federated, "learn"), of(stocks, "learn")
    return {
        "sites": count,
        "numpy_seconds": round(reference, 3),
        "dermafed_seconds": learn,
        "dermafed_ratio": None if learn is None else round(learn / reference, 2),
        "dermafed_with_start_join_evaluation_seconds": of(federated, "whole"),
        "flower_stock_seconds": stock_learn,
        "flower_stock_ratio": None if stock_learn is None else round(stock_learn / reference, 2),
        "flower_stock_with_start_join_evaluation_seconds": of(stocks, "whole"),
    }


if __name__ == "__main__":
    typer.run(main)
