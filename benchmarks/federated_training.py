"""The product's own training over sites that answer in this process: a run, and one round alone."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np

from benchmarks.bare_training import class_counts
from client.site import Site
from common.finetuning.balance import site_share
from common.finetuning.head import head_settings
from common.finetuning.network import build_network, read_tensors
from common.finetuning.settings import read_training
from common.finetuning.travel import Travel
from common.learners.base import Arrays
from common.settings import RunSettings
from common.split import Split
from server.checkpoint import CheckpointFolder
from server.events import EVENTS_FILE
from server.finetuning.rounds import TrainingRounds
from server.journal import identity_of
from server.link import Link, RoundPolicy
from server.strategies import make_strategy
from simulations.local_grid import LocalGrid
from simulations.run_app import run_app
from simulations.studies.work import FIRST_NODE_ID

_STRATEGY = "fedavg"
# One process answers for all sites, so none is ever late.
_DEADLINE = 1e6


@dataclass(frozen=True)
class Federated:
    """A finished run.

    Attributes
    ----------
    seconds : list of float
        Of each round but the last, which the product always validates.
    head, weights : mapping of str to ndarray of float32
        The classifier that it began with, and all weights after the last round.
    apart : dict
        What the seconds do not hold, and what went over the wire in a round.
    """

    seconds: list[float]
    head: Arrays
    weights: Arrays
    apart: dict[str, float]


def run_settings(sites: list[Site], training: str, scratch: Path) -> RunSettings:
    """Make a run's settings; what it keeps comes to lie in `scratch`."""
    return RunSettings(
        strategy=_STRATEGY,
        training=training,
        learner_settings=head_settings("ridge"),
        backbone=sites[0].backbone.name,
        split_seed=sites[0].split_seed,
        sites=len(sites),
        cache=str(scratch),
        checkpoint=str(scratch / "checkpoint"),
        draws=0,
        deadline=_DEADLINE,
    )


def federate(sites: list[Site], training: str) -> Federated:
    """Run the ServerApp over the sites, in this process."""
    with tempfile.TemporaryDirectory() as name:
        scratch, out = Path(name), Path(name) / "run"
        settings = run_settings(sites, training, scratch)
        out.mkdir()
        result = run_app(LocalGrid(_nodes(sites), settings), settings, out)
        lines = (out / EVENTS_FILE).read_text(encoding="utf-8").splitlines()
        kept, _ = CheckpointFolder(scratch / "checkpoint").latest(identity_of(settings))
    if kept is None:
        raise ValueError(f"{scratch}: the run left no checkpoint")
    # A round's event comes when its checkpoint is on disk.
    rounds = [event for event in map(json.loads, lines) if event["event"] == "round"]
    ends = [datetime.fromisoformat(event["time"]).timestamp() for event in rounds]
    seconds = [end - begin for begin, end in pairwise(ends)][:-1]
    begun, first = result["history"][:2]
    apart = {
        "validation_seconds": begun["seconds"],
        **{way: first[way] for way in ("bytes_up", "bytes_down")},
    }
    return Federated(seconds, kept.arrays["head"], kept.arrays["global"], apart)


def make_round(sites: list[Site], training: str, scratch: Path) -> Callable[[], object]:
    """Make the first round of a plan, to be repeated as often as it is called."""
    settings, options = run_settings(sites, training, scratch), read_training(training)
    nodes, counts = _nodes(sites), class_counts(sites)
    total = np.sum(list(counts.values()), axis=0)
    link = Link(LocalGrid(nodes, settings), RoundPolicy(deadline=_DEADLINE), print)
    rounds = TrainingRounds(
        link,
        {node: site.info() for node, site in nodes.items()},
        counts,
        {name: site_share(own, total, options.sampling_power) for name, own in counts.items()},
        run="0" * 32,
        start={},
        retries=0,
    )
    network = build_network(sites[0].backbone, len(sites[0].classes))
    travel = Travel(network, 1, options.norm, _STRATEGY)
    state = network.state_dict()
    weights = read_tensors({name: state[name] for name in travel.weights})
    # The sites build their networks when they are first asked.
    rounds.judge(0, Split.VALIDATION, weights, {})
    return lambda: rounds.train(1, 0, make_strategy(_STRATEGY, ""), weights, travel, {}, {})


def _nodes(sites: list[Site]) -> dict[int, Site]:
    return dict(enumerate(sites, start=FIRST_NODE_ID))
