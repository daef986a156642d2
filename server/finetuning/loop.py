"""The rounds of a run by its plan, each judged, kept on disk and told."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from common.finetuning.network import FineTunedNetwork, read_tensors
from common.finetuning.plan import Phase, place_of, total_rounds
from common.finetuning.settings import TrainingSettings
from common.finetuning.strategies import strategy_kind
from common.finetuning.travel import Travel
from common.settings import RunSettings
from common.split import Split
from server.checkpoint import CheckpointFolder
from server.events import EventLog
from server.finetuning.lines import round_line
from server.finetuning.progress import Progress
from server.finetuning.rounds import Trained, TrainingRounds, Weights
from server.result import pooled_and_by_site
from server.strategies import Aggregation, make_strategy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# What of a group's metrics the history of rounds holds.
_SHOWN = ("n", "accuracy", "balanced_accuracy", "balanced_accuracy_bounds", "macro_auc")


@dataclass
class Loop:
    """Rounds that go on from `progress`.

    Attributes
    ----------
    settings, training : RunSettings, TrainingSettings
        The run, and how sites train.
    plan : tuple of Phase
        The rounds.
    network : FineTunedNetwork
        As the run began: pretrained stages and the exact head.
    rounds : TrainingRounds
        Asks the sites.
    progress : Progress
        How far the run is.
    events : EventLog
        Is told of each round.
    folder : CheckpointFolder
        Keeps each round.
    identity : str
        Of the run's settings.
    tell : callable
        Called with a line of text for each round.
    """

    settings: RunSettings
    training: TrainingSettings
    plan: tuple[Phase, ...]
    network: FineTunedNetwork
    rounds: TrainingRounds
    progress: Progress
    events: EventLog
    folder: CheckpointFolder
    identity: str
    tell: Callable[[str], None]

    def run(self) -> None:
        """Do the rounds that are left.

        Raises
        ------
        RoundError
            If a round stays below the quorum.
        OutputError
            If a checkpoint or an event cannot be written.
        """
        progress = self.progress
        strategy: Aggregation | None = None
        if not progress.history:
            progress.weights = self._starting(self.travel(0))
            progress.average = dict(progress.weights)
            self._end_round(time.monotonic(), self._traffic(), None)
        while progress.round < total_rounds(self.plan) and not self._is_patience_over():
            begin, traffic, number = time.monotonic(), self._traffic(), progress.round + 1
            place = place_of(self.plan, number)
            if strategy is None or place.position == 0:
                strategy = self._strategy(place.position)
            travel = self.travel(number)
            # What a phase adds is as it was pretrained; the rest goes on.
            before = {**self._starting(travel), **progress.weights}
            trained = self.rounds.train(
                number,
                place.position,
                strategy,
                before,
                travel,
                progress.counted,
                progress.best_counted,
            )
            progress.count(number, trained.steps)
            progress.average_in(trained.weights, before, self.training.ema)
            progress.strategy = strategy.state()
            self._end_round(begin, traffic, trained)

    def travel(self, number: int) -> Travel:
        """Tell what travels in a round; in round 0, which is but judged, as in the first."""
        phase = place_of(self.plan, max(number, 1)).phase
        return Travel(self.network, phase.depth, self.training.norm, self.settings.strategy)

    def states(self, counted: Mapping[str, int]) -> dict[str, int]:
        """Tell which round's state sites predict with: none where they keep nothing for it."""
        kind = strategy_kind(self.settings.strategy)
        own = kind.personal_head or not kind.starts_from_own or self.training.norm == "local"
        return dict(counted) if own else {}

    def _strategy(self, position: int) -> Aggregation:
        """Make a phase's strategy; another phase trains other arrays, so nothing is kept."""
        strategy = make_strategy(self.settings.strategy, self.settings.strategy_settings)
        if position:
            strategy.restore(self.progress.strategy)
        return strategy

    def _starting(self, travel: Travel) -> Weights:
        tensors = self.network.state_dict()
        return dict(read_tensors({name: tensors[name] for name in travel.weights}))

    def _end_round(self, begin: float, traffic: tuple[int, int], trained: Trained | None) -> None:
        """Judge a round's weights where they are to be, note it, keep it and tell it."""
        progress, rounds = self.progress, self.rounds
        number = progress.round + 1
        left_out = {"train": trained.left_out if trained else {}}
        repeats = trained.repeats if trained else 0
        validation = None
        if number % self.training.validate_every == 0 or number == total_rounds(self.plan):
            answers = rounds.judge(
                number, Split.VALIDATION, progress.average, self.states(progress.counted)
            )
            task = next(iter(rounds.sites.values()))
            validation = shortened(pooled_and_by_site(answers.of, task))
            left_out["validation"] = answers.left_out
            repeats += answers.repeats
        up, down = self._traffic()
        entry: dict[str, Any] = {
            "round": number,
            "depth": place_of(self.plan, max(number, 1)).phase.depth,
            "loss": trained.loss if trained else None,
            "steps": trained.steps if trained else {},
            "validation": validation,
            "left_out": {kind: sites for kind, sites in left_out.items() if sites},
            "repeats": repeats,
            "bytes_up": up - traffic[0],
            "bytes_down": down - traffic[1],
            "seconds": round(time.monotonic() - begin, 3),
        }
        if trained:
            rounds.link.traffic.rounds += 1
            stages = rounds.link.traffic.stages
            stages["finetune"] = stages.get("finetune", 0) + 1
        progress.judged(entry)
        progress.traffic = asdict(rounds.link.traffic)
        self.folder.save(progress.checkpoint(self.identity))
        for kind, sites in entry["left_out"].items():
            self.events.emit("left_out", round=number, kind=kind, sites=sites)
        self.events.emit("round", train_loss=entry["loss"], **entry)
        self.tell(round_line(entry, progress.history, total_rounds(self.plan)))

    def _is_patience_over(self) -> bool:
        progress, patience = self.progress, self.training.patience
        if not patience or progress.round - progress.best_round < patience:
            return False
        self.rounds.link.report(
            f"no better validation for {patience} rounds; the best is round {progress.best_round}"
        )
        self.events.emit("stop", round=progress.round, best_round=progress.best_round)
        return True

    def _traffic(self) -> tuple[int, int]:
        traffic = self.rounds.link.traffic
        return traffic.bytes_up, traffic.bytes_down


def shortened(metrics: dict[str, Any]) -> dict[str, Any]:
    """Keep of each group's metrics what the history of rounds holds."""

    def short(group: dict[str, Any]) -> dict[str, Any]:
        return {name: group[name] for name in _SHOWN}

    return {
        "pooled": short(metrics["pooled"]),
        "sites": {site: short(group) for site, group in metrics["sites"].items()},
    }
