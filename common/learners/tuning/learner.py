"""Tuning: every candidate is fitted without each fold, judged on it, and the best is fitted on all.

The federation fits the models without a fold side by side, in the same rounds: each is the pooled
fit of the other folds, as any learner's is of what it is given. A site then judges each on its
images of the fold that the model has not seen, and tells sums only, so that a score is that of
scikit-learn's ``GridSearchCV`` over the pooled folds. Where more models are wanted than go side by
side, candidates come in waves: the models of one are forgotten before the next begins.

The difference of two such models' sums is that of a fold. Under a policy with a minimum of m
images a site therefore keeps out of all of a run's sums each class's fold that has fewer (a class
is spread evenly over folds, so that few have), and rounds how many images are predicted right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import ContributionError, SettingsError
from common.learners.base import (
    ArraySpec,
    CollectiveLearner,
    Contribution,
    Learner,
    Problem,
    SiteData,
    State,
)
from common.learners.composed import FITTED
from common.learners.ensemble.some_rows import SomeRows
from common.learners.ensemble.together import take
from common.learners.search import check_folds
from common.learners.tuning.head import TunedHead
from common.learners.tuning.models import any_of, chosen_of, put_model, take_model
from common.learners.tuning.scores import (
    SCORE,
    Tuning,
    check_scores,
    folds_of,
    score_spec,
    scores_of,
    sum_scores,
)
from common.learners.tuning.settings import Candidate, TunedSettings
from common.split import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.learners.base import Head

_FOLD, _SCORE, _REFIT = "fold", "score", "refit"


class _Folds(SomeRows):
    """The models of some candidates, each without one fold; candidates first."""

    what = "model"

    def __init__(self, problem: Problem, candidates: Sequence[Candidate], folds: int) -> None:
        self.members = [(one, fold) for one in candidates for fold in range(folds)]
        learners = [one.learner(problem) for one, _ in self.members]
        names = [f"{one.text}, without fold {fold}" for one, fold in self.members]
        super().__init__(problem, learners, names)
        self._folds = folds

    def heads(self, state: State) -> list[list[Head]]:
        """Make the fitted classifiers: of each candidate, of each fold left out."""
        found = [
            learner.head(State(FITTED, take(state.arrays, f"{number}:"), True))
            for number, learner in enumerate(self.learners)
        ]
        folds = self._folds
        return [found[start : start + folds] for start in range(0, len(found), folds)]

    def _step(self, state: State, parts: Mapping[str, Contribution], *, added: bool) -> State:
        try:
            return super()._step(state, parts, added=added)
        except ContributionError as error:
            raise ContributionError(f"without one of the folds: {error}; use fewer") from error

    def _rows(self, number: int, own: str, data: SiteData, state: State) -> NDArray[np.intp]:
        del state
        if self.learners[number].part(own) is not Split.TRAIN:
            return np.arange(len(data))
        return np.flatnonzero(folds_of(data, self._folds) != self.members[number][1])


class TunedLearner:
    """The learner of a search, of candidates whose answers add up.

    Parameters
    ----------
    problem : Problem
        Classes and dimension.
    settings : TunedSettings
        What is tried.

    Raises
    ------
    SettingsError
        If a candidate cannot be of this problem, or their models cannot be in one set of arrays.
    """

    # Which candidate is best, and what its rounds are, only scores tell.
    rounds: int | None = None
    most_rounds: int | None = None

    def __init__(self, problem: Problem, settings: TunedSettings) -> None:
        self.problem, self.settings = problem, settings
        self.candidates = settings.candidates_made()
        self.learners: list[Learner] = [one.learner(problem) for one in self.candidates]
        size = max(1, settings.at_once // settings.folds)
        starts = range(0, len(self.candidates), size)
        self._waves = [self.candidates[start : start + size] for start in starts]
        self._models = any_of([learner.state_spec(FITTED) for learner in self.learners])
        self._together = cache(self._make_together)

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that a fit may go through: of every wave, and of whichever is chosen."""
        found = []
        for wave in range(len(self._waves)):
            found += [f"{_FOLD}:{wave}:{own}" for own in self._together(wave).stages]
            found.append(f"{_SCORE}:{wave}")
        for chosen, learner in enumerate(self.learners):
            found += [f"{_REFIT}:{chosen}:{own}" for own in learner.stages]
        return tuple(found)

    def warm_start(self, arrays: Mapping[str, NDArray[Any]]) -> None:  # noqa: ARG002
        """Refuse: each candidate starts anew."""
        raise SettingsError("warm start: is for logistic and svm; tuning starts anew")

    def start(self) -> State:
        """Give the state before the first round."""
        shape = (len(self.candidates), self.settings.folds)
        return self._wave(0, {SCORE: np.full(shape, np.nan)})

    def state_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Tell which arrays a state of this stage carries."""
        if stage == FITTED:
            return self._models
        kind, number, own = self._read(stage)
        if kind == _REFIT:
            return self.learners[number].state_spec(own)
        return self._together(number).state_spec(FITTED if kind == _SCORE else own)

    def contribution_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Tell which arrays a contribution to this stage carries."""
        kind, number, own = self._read(stage)
        if kind == _SCORE:
            classes, tried = len(self.problem.classes), len(self._waves[number])
            return score_spec(tried, self.settings.folds, classes, self.settings.metric)
        return self._of(kind, number).contribution_spec(own)

    def part(self, stage: str) -> Split:
        """Tell which part of the split a stage sums over."""
        kind, number, own = self._read(stage)
        return Split.TRAIN if kind == _SCORE else self._of(kind, number).part(own)

    def verify(self, stage: str, contribution: Contribution) -> None:
        """Refuse one site's sums that no images can have."""
        kind, number, own = self._read(stage)
        if kind == _SCORE:
            check_scores(contribution)
        else:
            self._of(kind, number).verify(own, contribution)

    def contribute(self, data: SiteData, state: State) -> Contribution:
        """Sum for every model that is asked for, or judge those that are fitted."""
        kind, number, own = self._read(state.stage)
        if kind != _SCORE:
            return self._of(kind, number).contribute(data, State(own, state.arrays))
        heads = self._together(number).heads(state)
        classes = np.array(self.problem.classes)
        return Contribution(len(data), sum_scores(data, heads, classes, self.settings.metric))

    def update(self, state: State, total: Contribution) -> State:
        """Take one step from the sums over all sites."""
        kind, number, own = self._read(state.stage)
        if kind == _SCORE:
            return self._judge(number, state, total)
        inner, kept = _apart(state, own)
        return self._after(kind, number, self._of(kind, number).update(inner, total), kept)

    def head(self, state: State) -> TunedHead:
        """Make the fitted classifier.

        Raises
        ------
        ContributionError
            If the arrays are no candidate's model.
        """
        chosen = chosen_of(state.arrays, len(self.candidates))
        take_model(state.arrays, self.learners[chosen].state_spec(FITTED))
        head = TunedHead(**self.settings.model_dump(exclude={"ledger"}))
        return head.set_fitted(state.arrays, np.array(self.problem.classes))

    def _make_together(self, wave: int) -> _Folds:
        return _Folds(self.problem, self._waves[wave], self.settings.folds)

    def _of(self, kind: str, number: int) -> Learner | _Folds:
        """Give what a stage is of: the models of a wave, or the learner of the chosen one."""
        return self.learners[number] if kind == _REFIT else self._together(number)

    def _wave(self, wave: int, kept: Mapping[str, NDArray[Any]]) -> State:
        return self._after(_FOLD, wave, self._together(wave).start(), kept)

    def _after(
        self, kind: str, number: int, after: State, kept: Mapping[str, NDArray[Any]]
    ) -> State:
        """Put a step's state under its own name, and go on from its last."""
        if not after.done:
            stage, memory = f"{kind}:{number}:{after.stage}", {**after.memory, **kept}
            return State(stage, after.arrays, False, memory, after.notes, after.turn)
        if kind == _FOLD:
            return State(f"{_SCORE}:{number}", after.arrays, False, kept, after.notes)
        arrays = put_model(number, after.arrays, self._models)
        return State(FITTED, arrays, True, kept, after.notes)

    def _judge(self, wave: int, state: State, total: Contribution) -> State:
        check_folds(total.arrays["held"])
        scores = state.memory[SCORE].copy()
        first = sum(map(len, self._waves[:wave]))
        scores[first : first + len(self._waves[wave])] = scores_of(total)
        if wave + 1 < len(self._waves):
            return self._wave(wave + 1, {SCORE: scores})
        found = Tuning(tuple(one.text for one in self.candidates), self.settings.metric, scores)
        begun = self._after(
            _REFIT, found.chosen, self.learners[found.chosen].start(), {SCORE: scores}
        )
        return State(begun.stage, begun.arrays, False, begun.memory, (found.note,), begun.turn)

    def _read(self, stage: str) -> tuple[str, int, str]:
        """Read a stage: its kind, of which wave or candidate, and whose own stage.

        Raises
        ------
        ContributionError
            If it is not one of the learner's.
        """
        kind, _, rest = stage.partition(":")
        told, sign, own = rest.partition(":")
        number = int(told) if told.isascii() and told.isdecimal() and len(told) < 4 else -1
        most = len(self.learners) if kind == _REFIT else len(self._waves)
        right = bool(own) if kind in (_FOLD, _REFIT) else kind == _SCORE and not sign
        if not right or not 0 <= number < most or told != str(number):
            raise ContributionError(f"the learner has no stage {stage!r}")
        return kind, number, own


class CollectiveTunedLearner(TunedLearner):
    """The learner of a search, of candidates some of whose answers do not add up."""

    def apart(self, stage: str) -> bool:
        """Tell whether the answers to a stage are merged, not added."""
        kind, number, own = self._read(stage)
        if kind == _SCORE:
            return False
        learner = self._of(kind, number)
        return isinstance(learner, CollectiveLearner | _Folds) and learner.apart(own)

    def merge(self, state: State, parts: Mapping[str, Contribution]) -> State:
        """Take one step from each site's answer."""
        kind, number, own = self._read(state.stage)
        inner, kept = _apart(state, own)
        learner: Any = self._of(kind, number)
        return self._after(kind, number, learner.merge(inner, parts), kept)


def _apart(state: State, own: str) -> tuple[State, dict[str, NDArray[Any]]]:
    """Take apart what is a step's own, and what is kept beside it."""
    kept = {SCORE: state.memory[SCORE]}
    memory = {name: array for name, array in state.memory.items() if name != SCORE}
    return State(own, state.arrays, False, memory, turn=state.turn), kept


def make_tuned(problem: Problem, settings: TunedSettings) -> TunedLearner:
    """Make the learner; one by sums where all candidates are."""
    learner = TunedLearner(problem, settings)
    if any(isinstance(one, CollectiveLearner) for one in learner.learners):
        return CollectiveTunedLearner(problem, settings)
    return learner
