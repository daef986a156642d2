"""The strategy that sees only totals: rounds of sums and an evaluation.

Flower's own `Strategy` averages weights over a fixed number of rounds. A federation by sums runs
until its learner is done, checks each reply against what the site registered, and adds replies
in the order of the sites' names as they arrive, so that it holds one total and a bounded window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

from flwr.app import RecordDict

from common import wire
from common.errors import ContributionError, RoundError, SettingsError
from common.evaluation import check_evaluation, evaluation_spec
from common.learners.base import (
    ArraySpec,
    CollectiveLearner,
    Contribution,
    Learner,
    State,
)
from common.learners.gathering import Gathering, Sum
from common.site_info import SiteInfo
from common.split import Split
from server.journal import Journal
from server.link import Link
from server.refusal import one_line


@dataclass(frozen=True)
class _Question:
    """What a round asks, and what an answer must be."""

    kind: str
    content: RecordDict
    spec: Mapping[str, ArraySpec]
    verify: Callable[[Contribution], None]
    part: Split


class SumStrategy(Link):
    """Rounds of sums over a link."""

    def gather(self, learner: Learner, stage: str) -> Gathering:  # noqa: ARG002
        """Begin the sum of a stage's answers.

        Raises
        ------
        SettingsError
            If the learner's answers do not all add up.
        """
        if isinstance(learner, CollectiveLearner):
            raise SettingsError("this learner's answers do not add up, and only sums are asked for")
        return Sum(learner)

    def fit(
        self,
        learner: Learner,
        sites: dict[int, SiteInfo],
        keep: Callable[[str, str, Contribution], None] | None = None,
        journal: Journal | None = None,
    ) -> tuple[State, dict[int, SiteInfo]]:
        """Run a learner until it is done.

        A site that is lost between two rounds, where the quorum allows it, leaves no trace: the
        rounds start again without it, so that the model is exactly the pooled fit of the sites
        returned.

        Parameters
        ----------
        learner : Learner
            What to fit.
        sites : dict of int to SiteInfo
            Those that joined.
        keep : callable or None
            Called with each site's name, the stage and its contribution: for a ledger. Without
            it, contributions are added and forgotten.
        journal : Journal or None
            Keeps the state after each round, and may give one to go on from. With a ledger, the
            rounds begin anew all the same, since it needs each site's sums.

        Returns
        -------
        State, dict of int to SiteInfo
            The learner's last state and the sites whose sums it is made of.

        Raises
        ------
        RoundError
            If a round ends below the quorum.
        ContributionError
            If the sums make no model.
        """
        asked = len(sites)
        first = learner.start()
        state = self._found(journal, sites, each_sum=keep is not None) or first
        while not state.done:
            stage = state.stage
            question = _Question(
                wire.CONTRIBUTE,
                wire.encode_state(state),
                learner.contribution_spec(stage),
                partial(learner.verify, stage),
                learner.part(stage),
            )
            answers = self.gather(learner, stage)
            turn = set(state.asked(info.site for info in sites.values()))
            questioned = {node: info for node, info in sites.items() if info.site in turn}
            # Those whose turn it is not count as there.
            there = sites.keys() - questioned.keys()
            for node, sums in self._sums(question, questioned, asked, idle=len(there)):
                answers.add(sites[node].site, sums)
                if keep is not None:
                    keep(sites[node].site, stage, sums)
                there = there | {node}
            lost = [info.site for node, info in sites.items() if node not in there]
            sites = {node: info for node, info in sites.items() if node in there}
            self.traffic.rounds += 1
            self.traffic.stages[stage] = self.traffic.stages.get(stage, 0) + 1
            if lost and journal is not None:
                journal.lose(stage, {site: self.left_out[site] for site in lost}, self.traffic)
            if lost and state.stage != first.stage:
                self.report("starting again without them: sums of different sites do not mix")
                state = first
                continue
            if answers.count == 0 and state.turn is None and learner.part(stage) is Split.TRAIN:
                raise RoundError(f"round {stage}: no site has a training image")
            state = answers.step(state)
            for note in state.notes:
                self.report(note)
            if journal is not None:
                journal.keep(stage, state, sites, self.traffic)
        return state, sites

    def evaluate(
        self, state: State, sites: dict[int, SiteInfo], draws: int = 0
    ) -> dict[str, Contribution]:
        """Ask sites for the sums of the fitted model's results on their test images.

        Parameters
        ----------
        state : State
            The fitted model.
        sites : dict of int to SiteInfo
            Those to ask.
        draws : int
            Resamples that the run's settings ask of them.

        Returns
        -------
        dict of str to Contribution
            By site name; sites that were lost are missing and named in `left_out`.

        Raises
        ------
        RoundError
            If the round ends below the quorum.
        """
        task = next(iter(sites.values()))
        spec = evaluation_spec(len(task.classes), malignant=bool(task.malignant), draws=draws)
        content = wire.encode_state(state)
        question = _Question(wire.EVALUATE, content, spec, check_evaluation, Split.TEST)
        replies = self._sums(question, sites, len(sites))
        return {sites[node].site: sums for node, sums in replies}

    def _found(
        self, journal: Journal | None, sites: Mapping[int, SiteInfo], *, each_sum: bool
    ) -> State | None:
        """Give the state that the rounds go on from, None where they begin."""
        found = None
        if journal is not None:
            found = journal.saved(sites, self.traffic, each_sum=each_sum)
        if found is not None:
            self.report(f"going on after round {self.traffic.rounds}")
        return found

    def _sums(
        self, question: _Question, sites: Mapping[int, SiteInfo], asked: int, idle: int = 0
    ) -> Iterator[tuple[int, Contribution]]:
        """Yield the replies that are right, in the sites' order; then demand the quorum."""
        refused: dict[str, str] = {}
        answered = idle
        kind = question.kind
        for reply in self.ask(self.message(question.content, node, kind) for node in sites):
            info = sites[reply.node_id]
            registered = getattr(info, question.part.value)
            try:
                sums = wire.decode_contribution(reply.content(), question.spec, registered)
                question.verify(sums)
            except ContributionError as error:
                refused[info.site] = one_line(error)
            else:
                answered += 1
                yield reply.node_id, sums
        self._require_quorum(kind, asked, answered, refused)
