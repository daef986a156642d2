"""A round of a linear head over TLS with four sites, beside an empty round of Flower's own.

Both on this machine, behind the same SuperLink and proxy, with the same keys, one after the other
and over again. The empty round is that of an app that does nothing, whose messages Flower answers
as it does by default: a process a message, with the app installed beforehand.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.machine import median, write
from common.deployment.flower import flower_environment, program
from server.deployment.flower import flwr
from server.deployment.overview import look
from server.deployment.settings import read_coordinator_file

PROJECT = Path(__file__).parents[1]
_LIMIT = 900.0


def main(
    repeats: Annotated[int, typer.Option(help="Runs of each.")] = 3,
    rounds: Annotated[int, typer.Option(help="Rounds of an empty run.")] = 8,
    port: Annotated[int, typer.Option(help="The first of eight free ports.")] = 23000,
) -> None:
    """Measure, and write ``results/round_latency.json``."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        environment = {
            **os.environ,
            "DERMAFED_LOCAL": made,
            "DERMAFED_CACHE": str(folder / "features"),
            "PORT": str(port),
        }
        ours: list[float] = []
        empty: list[float] = []
        try:
            _script(environment, "up")
            # Extracts the features, which is no round's cost.
            _run(environment, "warm")
            for number in range(repeats):
                ours += _rounds_of(folder, environment, f"ours-{number}")
                empty += _empty_rounds(folder, port, number, rounds)
        finally:
            _script(environment, "down")
    result = {
        "reference": "an empty round of an app that does nothing, Flower's own programs, seconds",
        "sites": 4,
        "learner": "logistic, pca=64, Newton rounds",
        "empty_seconds": round(median(empty), 2),
        "empty_range": [round(min(empty), 2), round(max(empty), 2)],
        "dermafed_seconds": round(median(ours), 2),
        "dermafed_range": [round(min(ours), 2), round(max(ours), 2)],
        "rounds": [len(ours), len(empty)],
        "ratio": round(median(ours) / median(empty), 2),
    }
    write("round_latency", result)


def _script(environment: dict[str, str], *arguments: str) -> None:
    command = ["bash", str(PROJECT / "deploy/local/federation"), *arguments]
    subprocess.run(command, env=environment, check=True, timeout=_LIMIT)


def _run(environment: dict[str, str], name: str) -> None:
    _script(environment, "run", "--name", name, "--learner", "logistic", "--set", "pca=64")


def _rounds_of(folder: Path, environment: dict[str, str], name: str) -> list[float]:
    """Give the seconds from the end of each Newton round to that of the next."""
    _run(environment, name)
    text = (folder / "coordinator/runs" / name / "events.jsonl").read_text(encoding="utf-8")
    ends: list[float] = []
    for line in text.splitlines():
        event: dict[str, Any] = json.loads(line)
        if event["event"] == "round" and event["stage"] == "newton":
            ends.append(datetime.fromisoformat(event["time"]).timestamp())
    return [after - before for before, after in pairwise(ends)]


def _empty_rounds(folder: Path, port: int, number: int, rounds: int) -> list[float]:
    """Put Flower's own SuperNodes in the sites' places, and time an empty app."""
    out = folder / f"empty-{number}.json"
    with _stock_nodes(folder, port):
        config = f'rounds={rounds} sites=4 out="{out}"'
        app = str(PROJECT / "benchmarks/empty_app")
        flwr(folder / "coordinator", "run", app, "--run-config", config)
        _wait(out.is_file)
    # The first round installs the app.
    found: list[float] = json.loads(out.read_text(encoding="utf-8"))
    return found[1:]


@contextmanager
def _stock_nodes(folder: Path, port: int) -> Iterator[None]:
    """Stop the sites, start SuperNodes as Flower's pages do, and start the sites again."""
    sites = sorted((folder / "sites").iterdir())
    dermafed = str(Path(sys.executable).with_name("dermafed"))
    for site in sites:
        stop = [dermafed, "site", "leave", "--stop-only", "--folder", str(site)]
        subprocess.run(stop, check=True, timeout=_LIMIT)
    nodes = [
        subprocess.Popen(
            [
                program("flower-supernode"),
                *("--superlink", f"localhost:{port}"),
                *("--root-certificates", str(folder / "coordinator/authority.pem")),
                *("--auth-supernode-private-key", str(site / "site.key")),
                *("--port", str(port + 3 + index)),
            ],
            env={**os.environ, **flower_environment(site / "stock")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for index, site in enumerate(sites)
    ]
    try:
        _wait_online(folder)
        yield
    finally:
        for node in nodes:
            node.terminate()
        for node in nodes:
            node.wait(60)
        for site in sites:
            start = [dermafed, "site", "join", "--detach", "--folder", str(site)]
            subprocess.run(start, check=True, timeout=_LIMIT)
        _wait_online(folder)


def _wait_online(folder: Path) -> None:
    coordinator = folder / "coordinator"
    settings = read_coordinator_file(coordinator)
    _wait(lambda: all(one.state == "online" for one in look(coordinator, settings).sites))


def _wait(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + _LIMIT
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the federation did not come up in time")
        time.sleep(0.2)


if __name__ == "__main__":
    typer.run(main)
