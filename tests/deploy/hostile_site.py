"""A site of the federation that answers wrongly for a while."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from client.deployment.worker import WAITING
from common.deployment.flower import flower_environment
from common.wire import CONTRIBUTE
from tests.deploy.conftest import DERMAFED, LEARNER, SITES, Federation, wait_until

_WORKER = Path(__file__).with_name("hostile_worker.py")
_TABLE = "HAM10000_metadata.csv"


@contextmanager
def answering_wrongly(
    federation: Federation,
    site: str,
    fault: str,
    trail: Path,
    seconds: float = 0.0,
    kinds: tuple[str, ...] = (CONTRIBUTE,),
) -> Iterator[None]:
    """Put a hostile worker in the place of a site's own."""
    folder = federation.site(site)
    # The real one waits: it has taken no message that nobody would answer.
    wait_until(lambda: _all_answered(folder))
    # Stopped, it starts no worker in the place of the one that ends.
    supervisor = federation.supervisor(folder)
    supervisor.suspend()
    with suppress(psutil.NoSuchProcess):
        federation.process(folder, "worker").kill()
    said = trail / "worker.log"
    with said.open("wb") as log:
        hostile = subprocess.Popen(
            [
                *(sys.executable, str(_WORKER), str(folder), fault, str(seconds), str(trail)),
                ",".join(kinds),
            ],
            env={**federation.environment, **flower_environment(folder / "flower")},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: WAITING in said.read_text(encoding="utf-8"))
        yield
    finally:
        hostile.kill()
        hostile.wait()
        supervisor.resume()
    # Of a message that a worker dies over, Flower's SuperNode gives word after a minute.
    wait_until(lambda: _all_answered(folder), 300.0)


def _all_answered(folder: Path) -> bool:
    whole = (folder / "logs" / "supernode.log").read_text(encoding="utf-8")
    # Of this start; one that was killed has left messages without an answer.
    log = whole.rpartition("Starting Flower SuperNode")[2]
    return log.count("Receiving: ") == log.count("Sending: ")


def simulate_without(federation: Federation, site: str) -> Path:
    """Fit the other sites' images alone, in a simulation that has never heard of the site."""
    assert site in SITES
    cohort = federation.folder / f"without-{site}"
    cohort.mkdir()
    for found in federation.cohort.iterdir():
        if found.name != _TABLE:
            (cohort / found.name).symlink_to(found)
    with (
        (federation.cohort / _TABLE).open(encoding="utf-8", newline="") as whole,
        (cohort / _TABLE).open("w", encoding="utf-8", newline="") as rest,
    ):
        rows = csv.DictReader(whole)
        assert rows.fieldnames is not None
        table = csv.DictWriter(rest, rows.fieldnames)
        table.writeheader()
        table.writerows(row for row in rows if row["dataset"] != site)
    out = federation.folder / f"simulated-without-{site}"
    done = federation.call(
        *(str(DERMAFED), "simulate", str(cohort), "--out", str(out)),
        *(*LEARNER, "--disclosure", "guarded"),
    )
    assert done.returncode == 0, done.stderr
    return out


def members_and_left_out(run: Path) -> tuple[set[str], dict[str, str]]:
    """Give the sites that a run's model is made of, and those that it is not, with reasons."""
    result: dict[str, Any] = json.loads((run / "result.json").read_text(encoding="utf-8"))
    model = json.loads((run / "model.json").read_text(encoding="utf-8"))
    assert set(model["sites"]) == set(result["test"]["sites"])
    return set(model["sites"]), result["partition"]["left_out"]
