"""What a round costs the coordinator with 10 to 10,000 sites: time, and memory at its peak.

Sites are answers that lie ready, so that the coordinator's work is measured, from the message to
the total, with the packing of each imitated reply. It decodes and checks each reply (its header,
its numbers, the eigenvalues of its Gram matrix), and adds it with compensation. The reference adds
the same arrays with numpy, unchecked, in the same process. Each number of sites runs in a process
of its own.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import typer
from flwr.app import Message
from flwr.supercore.task_identity import TaskIdentity

from benchmarks.machine import RESULTS, median, write
from common import wire
from common.learners import make_learner
from common.learners.base import Contribution, Problem, SiteData, State
from common.site_info import SiteInfo
from server.link import RoundPolicy
from server.sum_strategy import SumStrategy

DIMENSION, CLASSES, IMAGES = 256, tuple("abcdefg"), 400
COUNTS = (10, 100, 1_000, 10_000)


@dataclass
class ReadyGrid:
    """A grid whose nodes answer at once with what lies ready for the stage that they are asked."""

    waiting: dict[str, Message] = field(default_factory=dict)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Take messages."""
        ids = []
        for message in messages:
            ids.append(f"m{message.metadata.dst_node_id}-{message.metadata.group_id}")
            message.metadata.__dict__["_message_id"] = ids[-1]
            self.waiting[ids[-1]] = message
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Answer one message at a time, as a network would."""
        for message_id in message_ids:
            if message_id in self.waiting:
                message = self.waiting.pop(message_id)
                stage = wire.decode_stage(message.content)
                # A copy, so that each reply takes the memory that it would.
                content = wire.encode_contribution(_CONTRIBUTIONS[stage])
                return [Message(content, reply_to=message)]
        return []


_CONTRIBUTIONS: dict[str, Contribution] = {}


class _Round:
    """The ridge learner's Gram round, once; its update is not the coordinator's sum."""

    def __init__(self, problem: Problem, state: State) -> None:
        self._learner = make_learner("ridge", problem, "calibrate=none")
        self.problem, self._state = problem, state
        self.settings = self._learner.settings
        self.part, self.contribution_spec = self._learner.part, self._learner.contribution_spec
        self.verify, self.state_spec = self._learner.verify, self._learner.state_spec
        self.contribute, self.head = self._learner.contribute, self._learner.head
        self.warm_start = self._learner.warm_start
        self.stages, self.rounds = self._learner.stages, self._learner.rounds
        self.most_rounds = self._learner.most_rounds

    def start(self) -> State:
        """Begin at the Gram round."""
        return self._state

    def update(self, state: State, total: Contribution) -> State:
        """End, keeping the total."""
        del state
        return State("fitted", total.arrays, done=True)


def one(sites: int) -> dict[str, float]:
    """Time one round over so many sites; with the peak of the process's memory."""
    # Flower's messages carry the identity of the run that they are of.
    TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1
    rng = np.random.default_rng(0)
    problem = Problem(CLASSES, DIMENSION)
    data = SiteData(
        rng.standard_normal((IMAGES, DIMENSION)).astype(np.float32),
        rng.integers(0, len(CLASSES), IMAGES),
    )
    learner = make_learner("ridge", problem, "calibrate=none")
    first = learner.start()
    state = learner.update(first, learner.contribute(data, first))
    sums = learner.contribute(data, state)
    _CONTRIBUTIONS[state.stage] = sums
    infos = {
        node: SiteInfo(f"site-{node:05d}", IMAGES, IMAGES, IMAGES, 0, 0, CLASSES, (), "b", 0)
        for node in range(2, sites + 2)
    }
    grid: Any = ReadyGrid()
    strategy = SumStrategy(grid, RoundPolicy(), lambda _line: None)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    strategy.fit(_Round(problem, state), infos)
    elapsed = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    total = np.zeros_like(sums.arrays["gram"])
    begin = time.perf_counter()
    for _ in range(sites):
        total += sums.arrays["gram"]
    plain = time.perf_counter() - begin
    return {"seconds": elapsed, "added_mib": (peak - before) / 1024, "numpy_seconds": plain}


def draw(rows: list[dict[str, Any]]) -> None:
    """Draw the curve."""
    from matplotlib import pyplot as plt

    count = [row["sites"] for row in rows]
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
    left.loglog(count, [row["seconds"] for row in rows], "o-")
    left.set(xlabel="sites", ylabel="seconds a round")
    right.semilogx(count, [row["added_memory_mib"] for row in rows], "o-")
    most = 1.25 * max(row["added_memory_mib"] for row in rows)
    right.set(xlabel="sites", ylabel="peak memory added, MiB", ylim=(0, most))
    for axis in (left, right):
        axis.grid(alpha=0.3)
    figure.savefig(RESULTS / "server_sum.svg", metadata={"Date": None})


def main(sites: int = 0, repeats: int = 3) -> None:
    """Measure all; with SITES, one number of sites once (used by the benchmark itself)."""
    if sites:
        print(json.dumps(one(sites)))
        return
    rows = []
    for count in COUNTS:
        found = []
        for _ in range(repeats):
            command = [sys.executable, "-m", "benchmarks.server_sum", "--sites", str(count)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found.append(json.loads(done.stdout.splitlines()[-1]))
        seconds = median([run["seconds"] for run in found])
        plain = median([run["numpy_seconds"] for run in found])
        rows.append(
            {
                "sites": count,
                "seconds": round(seconds, 3),
                "ms_per_site": round(1000 * seconds / count, 3),
                "numpy_ms_per_site": round(1000 * plain / count, 4),
                "ratio": round(seconds / plain, 1),
                "added_memory_mib": round(median([run["added_mib"] for run in found]), 1),
            }
        )
    reply = 8 * (DIMENSION + 1) * (DIMENSION + 2) // 2
    write(
        "server_sum",
        {
            "reference": "numpy's own addition of the same Gram matrices, unchecked",
            "dimension": DIMENSION,
            "gram_bytes_a_site": reply,
            "repeats": repeats,
            "rounds": rows,
        },
    )
    draw(rows)
    print("\n| sites | seconds a round | ms a site | numpy, ms a site | ratio | memory, MiB |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        print("| " + " | ".join(f"{value:,}" for value in row.values()) + " |")


if __name__ == "__main__":
    command_line = typer.Typer(pretty_exceptions_show_locals=False, add_completion=False)
    command_line.command()(main)
    command_line()
