"""How far a run is, and what of it a checkpoint holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from server.checkpoint import Checkpoint
from server.finetuning.rounds import Weights
from server.finetuning.start import Start, from_facts, to_facts
from server.strategies.base import Groups

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STRATEGY = "strategy:"
_FACTS = ("best_round", "best_score", "best_counted", "counted", "history", "steps", "traffic")


@dataclass
class Progress:
    """A run after some rounds.

    Attributes
    ----------
    run : str
        Its identity.
    start : Start
        What it began with.
    weights : dict of str to ndarray of float32
        What all rounds so far trained, as the next one goes on from it.
    average : dict of str to ndarray of float32
        Its mean over rounds; the weights themselves where there is none.
    best : dict of str to ndarray of float32
        The best round's, as they were evaluated.
    best_round, best_score : int, float
        The best round, and its balanced accuracy on all validation images.
    counted, best_counted : dict of str to int
        The round in which each site's answer counted last; the same at the best round.
    history : list of dict
        Of each round from 0.
    steps : dict of str to int
        Optimiser's steps that each site took in rounds that count.
    traffic : dict
        What went over the wire.
    strategy : dict
        The strategy's state.
    """

    run: str
    start: Start
    weights: Weights
    average: Weights
    best: Weights
    best_round: int = 0
    best_score: float = -1.0
    counted: dict[str, int] = field(default_factory=dict)
    best_counted: dict[str, int] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    steps: dict[str, int] = field(default_factory=dict)
    traffic: dict[str, Any] = field(default_factory=dict)
    strategy: Groups = field(default_factory=dict)

    @property
    def round(self) -> int:
        """Rounds done."""
        return len(self.history) - 1

    def count(self, number: int, steps: Mapping[str, int]) -> None:
        """Note which sites a round counts, and the steps that they took."""
        for site, own in steps.items():
            self.counted[site] = number
            self.steps[site] = self.steps.get(site, 0) + own

    def average_in(self, weights: Mapping[str, NDArray[Any]], before: Weights, ema: float) -> None:
        """Take a round's weights, and into the mean, ``ema * mean + (1 - ema) * weights``.

        Parameters
        ----------
        weights : mapping of str to ndarray of float32
            The round's.
        before : dict of str to ndarray of float32
            Those it started from; the mean of an array that is new starts there.
        ema : float
            Weight of what came before.
        """
        for name, new in weights.items():
            old = self.average.get(name, before[name])
            self.average[name] = (ema * old + (1.0 - ema) * new).astype(new.dtype) if ema else new
            self.weights[name] = new

    def judged(self, entry: dict[str, Any]) -> bool:
        """Note a round; tell whether it is the best validated one so far, which a tie is, too.

        Where withheld counts leave the balanced accuracy open, its lower bound decides.
        """
        self.history.append(entry)
        if entry["validation"] is None:
            return False
        bounds = entry["validation"]["pooled"]["balanced_accuracy_bounds"]
        score = bounds[0] if bounds else -1.0
        if score < self.best_score:
            return False
        self.best, self.best_round, self.best_score = dict(self.average), self.round, score
        self.best_counted = dict(self.counted)
        return True

    def checkpoint(self, identity: str) -> Checkpoint:
        """Write it as a checkpoint."""
        groups = {
            "head": self.start.classifier,
            "global": self.weights,
            "average": self.average,
            "best": self.best,
            **{f"{_STRATEGY}{name}": group for name, group in self.strategy.items()},
        }
        facts = {name: getattr(self, name) for name in _FACTS}
        facts["start"] = to_facts(self.start)
        plain = json.loads(json.dumps(facts))
        return Checkpoint(identity, self.run, self.round, groups, plain)

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Progress:
        """Read a checkpoint."""
        arrays, facts = dict(checkpoint.arrays), dict(checkpoint.facts)
        strategy = {
            name.removeprefix(_STRATEGY): group
            for name, group in arrays.items()
            if name.startswith(_STRATEGY)
        }
        return cls(
            run=checkpoint.run,
            start=from_facts(facts.pop("start"), arrays["head"]),
            weights=arrays["global"],
            average=arrays["average"],
            best=arrays["best"],
            strategy=strategy,
            **facts,
        )
