"""Rounds of fine-tuning and of evaluation over a grid: what is asked, and how it is checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from flwr.app import MetricRecord, RecordDict

from common import wire
from common.errors import RoundError
from common.evaluation import check_evaluation, evaluation_spec
from common.finetuning.order import Order
from common.learners.base import Contribution
from common.site_info import SiteInfo
from common.split import Split
from common.wire.records import ARRAYS, CONFIG, METRICS, encode_arrays
from server.collect import Asked
from server.finetuning.asking import Answer, Answers, Repeats, ask_until_quorum
from server.finetuning.messages import addressed, configured
from server.link import Link
from server.strategies.base import LOSS, STEPS, WEIGHT, Aggregation, metric_of, to_arrays

if TYPE_CHECKING:
    from flwr.app import Message
    from numpy.typing import NDArray

    from common.finetuning.travel import Travel

Weights = dict[str, "NDArray[Any]"]


@dataclass(frozen=True)
class Trained:
    """What comes of a round of training.

    Attributes
    ----------
    weights : dict of str to ndarray of float32
        The new weights, of the names that were sent.
    loss : float
        Mean loss over the sites that count, by their shares.
    steps : dict of str to int
        Steps of the optimiser that each site which counts took.
    left_out : dict of str to str
        Sites that do not count, with the reasons.
    repeats : int
        How often the round was repeated.
    """

    weights: Weights
    loss: float
    steps: dict[str, int]
    left_out: dict[str, str]
    repeats: int


@dataclass
class TrainingRounds:
    """Rounds over the sites that joined.

    Attributes
    ----------
    link : Link
        Asks nodes, counts bytes, and has the policy of rounds.
    sites : dict of int to SiteInfo
        By node id.
    class_counts : dict of str to ndarray of int64, shape (classes,)
        Training images of each class at each site, those included that are not there any more.
    shares : dict of str to float
        What each site weighs; those of all sites sum to 1.
    run : str
        The run's identity, 32 hexadecimal digits.
    start : dict of str to ndarray of float32
        What sites are sent besides weights: the head that their own classifiers start from.
    retries : int
        How often a round below the quorum is repeated.
    on_repeat : callable
        Told what kind of round is repeated, its number, and the sites that did not count.
    """

    link: Link
    sites: dict[int, SiteInfo]
    class_counts: dict[str, NDArray[np.int64]]
    shares: dict[str, float]
    run: str
    start: Weights
    retries: int
    on_repeat: Callable[[str, int, dict[str, str]], None] = field(default=lambda *_: None)

    def train(
        self,
        number: int,
        position: int,
        strategy: Aggregation,
        weights: Mapping[str, NDArray[Any]],
        travel: Travel,
        counted: Mapping[str, int],
        best: Mapping[str, int],
    ) -> Trained:
        """Train for a round.

        Parameters
        ----------
        number, position : int
            The round in the plan, from 1, and in its phase, from 0.
        strategy : Aggregation
            The phase's.
        weights : mapping of str to ndarray of float32
            Those that travel.
        travel : Travel
            What goes down and comes up.
        counted : mapping of str to int
            The round in which each site's answer counted last; 0 where it is missing.
        best : mapping of str to int
            The same at the best round so far.

        Raises
        ------
        RoundError
            If the round stays below the quorum, however often it is repeated.
        """
        trainers = [n for n, info in self.sites.items() if self.class_counts[info.site].any()]
        if not trainers:
            raise RoundError(f"round {number}: no site has a training image")
        total = self._order(number, 0, 0, Split.TRAIN)
        spec = {**travel.weights, **travel.companions}
        content = configured(
            strategy, position + 1, encode_arrays(weights), wire.encode_order(total), trainers
        )
        # Flower draws nodes in an order of chance.
        messages: dict[int, RecordDict] = {}
        for node in (node for node in self.sites if node in content):
            site = self.sites[node].site
            order = self._order(number, counted.get(site, 0), best.get(site, 0), Split.TRAIN)
            messages[node] = addressed(content[node], spec, self.start, wire.encode_order(order))

        def check(asked: Asked) -> Message:
            update = wire.decode_update(asked.content(), spec)
            metrics: dict[str, int | float | list[int] | list[float]] = {
                WEIGHT: self.shares[self.sites[asked.node_id].site],
                LOSS: update.loss,
                STEPS: update.steps,
            }
            reply = cast("Message", asked.reply)
            reply.content = RecordDict(
                {ARRAYS: encode_arrays(update.arrays), METRICS: MetricRecord(metrics)}
            )
            return reply

        answers = self._ask("train", number, messages, wire.FINETUNE, check)
        steps = {site: int(metric_of(reply, STEPS)) for site, reply in answers.of.items()}
        record, metrics = strategy.aggregate_train(position + 1, list(answers.of.values()))
        if record is None or metrics is None:
            raise RoundError(f"round {number}: the strategy made nothing of the sites' answers")
        new = to_arrays(record)
        for name in travel.weights:
            if not np.isfinite(new[name]).all():
                raise RoundError(
                    f"round {number}: {name} overflows; lower the learning rates of the strategy "
                    "and of the training"
                )
        return Trained(
            {name: new[name] for name in travel.weights},
            float(cast(float, metrics[LOSS])),
            steps,
            answers.left_out,
            answers.repeats,
        )

    def judge(
        self,
        number: int,
        part: Split,
        weights: Mapping[str, NDArray[Any]],
        counted: Mapping[str, int],
        draws: int = 0,
    ) -> Answers[Contribution]:
        """Ask for the evaluation sums of a round's weights.

        Parameters
        ----------
        number : int
            The round, from 0.
        part : Split
            The part of the split.
        weights : mapping of str to ndarray of float32
            Those that travel.
        counted : mapping of str to int
            The round whose state each site predicts with; 0 where it is missing.
        draws : int
            Resamples.

        Raises
        ------
        RoundError
            As `train`.
        """
        task = next(iter(self.sites.values()))
        spec = evaluation_spec(len(task.classes), malignant=bool(task.malignant), draws=draws)
        record = wire.pack_arrays({**weights, **self.start})
        messages = {}
        for node, info in self.sites.items():
            order = self._order(number, counted.get(info.site, 0), 0, part)
            messages[node] = RecordDict({ARRAYS: record, CONFIG: wire.encode_order(order)})

        def check(asked: Asked) -> Contribution:
            registered = getattr(self.sites[asked.node_id], part.value)
            sums = wire.decode_contribution(asked.content(), spec, registered)
            check_evaluation(sums)
            return sums

        return self._ask(part.value, number, messages, wire.JUDGE, check)

    def _ask(
        self,
        what: str,
        number: int,
        messages: Mapping[int, RecordDict],
        kind: str,
        check: Callable[[Asked], Answer],
    ) -> Answers[Answer]:
        repeats = Repeats(self.retries, self.on_repeat)
        return ask_until_quorum(self.link, self.sites, repeats, what, number, messages, kind, check)

    def _order(self, number: int, state_round: int, best: int, part: Split) -> Order:
        total = np.sum(list(self.class_counts.values()), axis=0)
        return Order(self.run, number, state_round, best, part, tuple(total.tolist()))
