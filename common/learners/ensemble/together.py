"""Several learners side by side: one contribution carries what all of them ask for.

A round costs seconds at real sites and little more when it carries more, so the members are not
fitted one after another: the rounds are those of the slowest member, not the sum. A member's arrays
bear its number, as ``1:gram``; a stage names what it asks of whom, as ``newton:0,2+gram:1``.
Rounds on training images come before those on validation images. A member that is made of members
itself has stages of this form, too: within another's they are written with other signs.

Not all that could be asked need be: members wait whose site has its turn while another's has, and
those for which there is no room in the stage's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from common.errors import ContributionError
from common.learners.base import (
    Arrays,
    ArraySpec,
    CollectiveLearner,
    Contribution,
    Learner,
    Problem,
    SiteData,
    State,
)
from common.learners.composed import FITTED
from common.learners.search import Selection
from common.learners.total import Total
from common.split import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

_GROUP = re.compile(r"([^:+,]+):((?:0|[1-9][0-9]?)(?:,[1-9][0-9]?)*)")
_MEMORY, _KEPT, _AT, _TURN = "memory.", "kept.", "at", "turn"
_WRITTEN = str.maketrans(":+,", "=&.")
_READ = str.maketrans("=&.", ":+,")
# Messages have room for 200 characters, of which a learner of learners needs some itself.
_LONGEST = 180


class Together:
    """Rounds of several learners at once.

    Parameters
    ----------
    problem : Problem
        Classes and dimension, of all of them.
    learners : sequence of Learner
        The members; in a stage and in names of arrays, they are numbered from 0.
    names : sequence of str
        What they are called, for notes.
    columns : sequence of slice or None
        The features that each sees; None where each sees all.
    """

    def __init__(
        self,
        problem: Problem,
        learners: Sequence[Learner],
        names: Sequence[str],
        columns: Sequence[slice] | None = None,
    ) -> None:
        self.problem, self.learners, self.names = problem, list(learners), list(names)
        self.columns = [slice(None)] * len(self.learners) if columns is None else list(columns)

    @property
    def collective(self) -> bool:
        """Whether some answers do not add up."""
        return any(isinstance(learner, CollectiveLearner) for learner in self.learners)

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages of each member; a round asks for one of each that is not done."""
        return tuple(
            f"{stage.translate(_WRITTEN)}:{number}"
            for number, learner in enumerate(self.learners)
            for stage in learner.stages
        )

    @property
    def rounds(self) -> int | None:
        """The rounds that a fit takes; None where its answers tell when it is done."""
        each = [learner.rounds for learner in self.learners]
        parts = {learner.part(stage) for learner in self.learners for stage in learner.stages}
        known = [rounds for rounds in each if rounds is not None]
        return max(known) if len(known) == len(each) and len(parts) == 1 else None

    @property
    def most_rounds(self) -> int | None:
        """The rounds that a fit takes at most; None where nothing bounds them beforehand."""
        return self.rounds

    def start(self) -> State:
        """Give the state before the first round."""
        return self._state([learner.start() for learner in self.learners], ())

    def state_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Tell which arrays a state of this stage carries."""
        if stage == FITTED:
            fitted = [(number, FITTED) for number in range(len(self.learners))]
            count = ArraySpec((len(self.problem.classes),), "int64", minimum=0)
            return {"class_count": count, **self._specs("state_spec", fitted)}
        return self._specs("state_spec", self._asked(stage))

    def contribution_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Tell which arrays a contribution to this stage carries."""
        return self._specs("contribution_spec", self._asked(stage))

    def part(self, stage: str) -> Split:
        """Tell which part of the split a stage sums over."""
        number, own = self._asked(stage)[0]
        return self.learners[number].part(own)

    def apart(self, stage: str) -> bool:
        """Tell whether the answers to a stage are merged, not added."""
        return any(self._is_apart(number, own) for number, own in self._asked(stage))

    def verify(self, stage: str, contribution: Contribution) -> None:
        """Refuse one site's answer that no images can have."""
        for number, own in self._asked(stage):
            self.learners[number].verify(own, self._of(number, own, contribution))

    def contribute(self, data: SiteData, state: State) -> Contribution:
        """Answer for every member that is asked."""
        arrays: dict[str, NDArray[np.generic]] = {}
        for number, own in self._asked(state.stage):
            arrays.update(put(self._answer(number, own, data, state), f"{number}:"))
        return Contribution(len(data), arrays)

    def update(self, state: State, total: Contribution) -> State:
        """Take one step of every member that was asked, from the sums over all sites."""
        return self._step(state, {"": total}, added=True)

    def merge(self, state: State, parts: Mapping[str, Contribution]) -> State:
        """Take one step of every member that was asked, from each site's answer."""
        return self._step(state, parts, added=False)

    def states(self, state: State) -> list[State]:
        """Take a state apart into those of the members."""
        asked = {} if state.done else dict(self._asked(state.stage))
        found = []
        for number in range(len(self.learners)):
            memory = take(state.memory, f"{number}:{_MEMORY}")
            if state.done:
                own = State(FITTED, take(state.arrays, f"{number}:"), True, memory)
            elif number in asked:
                own = State(asked[number], take(state.arrays, f"{number}:"), False, memory)
            else:
                stage = bytes(state.memory[f"{number}:{_AT}"].tolist()).decode()
                turn = int(state.memory[f"{number}:{_TURN}"][0])
                kept = take(state.memory, f"{number}:{_KEPT}")
                own = State(stage, kept, stage == FITTED, memory, turn=None if turn < 0 else turn)
            found.append(own)
        return found

    def _answer(self, number: int, own: str, data: SiteData, state: State) -> Arrays:
        begun = State(own, take(state.arrays, f"{number}:"))
        seen = replace(data, x=data.x[:, self.columns[number]])
        return self.learners[number].contribute(seen, begun).arrays

    def _of(self, number: int, own: str, contribution: Contribution) -> Contribution:  # noqa: ARG002
        """Take a member's part of a contribution."""
        return Contribution(contribution.count, take(contribution.arrays, f"{number}:"))

    def _member_spec(self, kind: str, number: int, own: str) -> Mapping[str, ArraySpec]:
        learner = self.learners[number]
        return learner.state_spec(own) if kind == "state_spec" else learner.contribution_spec(own)

    def _specs(self, kind: str, asked: Sequence[tuple[int, str]]) -> dict[str, ArraySpec]:
        return {
            f"{number}:{name}": replace(spec, part_of=spec.part_of and f"{number}:{spec.part_of}")
            for number, own in asked
            for name, spec in self._member_spec(kind, number, own).items()
        }

    def _is_apart(self, number: int, own: str) -> bool:
        learner = self.learners[number]
        return isinstance(learner, CollectiveLearner) and learner.apart(own)

    def _step(self, state: State, parts: Mapping[str, Contribution], *, added: bool) -> State:
        states, notes = self.states(state), []
        for number, own in self._asked(state.stage):
            learner = self.learners[number]
            answers = {site: self._of(number, own, part) for site, part in parts.items()}
            if isinstance(learner, CollectiveLearner) and learner.apart(own):
                after = learner.merge(states[number], answers)
            else:
                after = learner.update(states[number], _sum(answers.values(), added=added))
            states[number] = after
            said = list(after.notes)
            selection = Selection.of(after) if after.done else None
            if selection is not None:
                said.append(f"chose {selection.value:.4g} by folds")
            notes += [f"member {number} ({self.names[number]}): {note}" for note in said]
        return self._state(states, tuple(notes))

    def _state(self, states: Sequence[State], notes: tuple[str, ...]) -> State:
        """Put the members' states side by side; those that are not asked wait in memory."""
        waiting = {number: state for number, state in enumerate(states) if not state.done}
        parts = {n: self.learners[n].part(state.stage) for n, state in waiting.items()}
        part = Split.TRAIN if Split.TRAIN in parts.values() else Split.VALIDATION
        could = {number: state for number, state in waiting.items() if parts[number] is part}
        groups, turn = _next(could)
        asked = {number for numbers in groups.values() for number in numbers}
        arrays: dict[str, NDArray[np.generic]] = {}
        memory: dict[str, NDArray[np.generic]] = {}
        for number, state in enumerate(states):
            memory.update(put(state.memory, f"{number}:{_MEMORY}"))
            if number in asked or not waiting:
                arrays.update(put(state.arrays, f"{number}:"))
                continue
            # As whole numbers of a kind that a checkpoint keeps.
            memory[f"{number}:{_AT}"] = np.array(list(state.stage.encode()), dtype=np.int64)
            memory[f"{number}:{_TURN}"] = np.array([-1 if state.turn is None else state.turn])
            memory.update(put(state.arrays, f"{number}:{_KEPT}"))
        if not waiting:
            arrays["class_count"] = states[0].arrays["class_count"]
            return State(FITTED, arrays, True, memory, notes)
        return State(_name(groups), arrays, False, memory, notes, turn)

    def _asked(self, stage: str) -> list[tuple[int, str]]:
        """Read a stage: which member's which stage.

        Raises
        ------
        ContributionError
            If it is not one of the learner's.
        """
        asked: dict[int, str] = {}
        for group in stage.split("+"):
            found = _GROUP.fullmatch(group)
            for number in map(int, found[2].split(",")) if found else ():
                if number in asked or number >= len(self.learners):
                    raise ContributionError(f"the learner has no stage {stage!r}")
                asked[number] = found[1].translate(_READ) if found else ""
        known = all(self._knows(number, own) for number, own in asked.items())
        if not asked or not known or len(stage.split("+")) != len(set(asked.values())):
            raise ContributionError(f"the learner has no stage {stage!r}")
        if len({self.learners[number].part(own) for number, own in asked.items()}) > 1:
            raise ContributionError(f"the learner has no stage {stage!r}")
        return sorted(asked.items())

    def _knows(self, number: int, own: str) -> bool:
        # What of its own members a member asks is told by itself, as `contribution_spec` refuses.
        return own in self.learners[number].stages or ":" in own


def _next(could: Mapping[int, State]) -> tuple[dict[str, list[int]], int | None]:
    """Choose whom to ask, by stage, and whose turn it is."""
    groups: dict[str, list[int]] = {}
    turn = next((state.turn for state in could.values()), None)
    for number, state in could.items():
        if state.turn != turn:
            continue
        more = {**groups, state.stage: [*groups.get(state.stage, []), number]}
        if not groups or len(_name(more)) <= _LONGEST:
            groups = more
    return groups, turn


def _name(groups: Mapping[str, Sequence[int]]) -> str:
    return "+".join(
        f"{stage.translate(_WRITTEN)}:{','.join(map(str, numbers))}"
        for stage, numbers in groups.items()
    )


def put(arrays: Arrays, prefix: str) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """Give arrays under longer names."""
    for name, array in arrays.items():
        yield f"{prefix}{name}", array


def take(arrays: Arrays, prefix: str) -> dict[str, NDArray[np.generic]]:
    """Give the arrays whose names begin so, without that beginning."""
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def _sum(answers: Iterable[Contribution], *, added: bool) -> Contribution:
    if added:
        return next(iter(answers))
    total = Total()
    for answer in answers:
        total.add(answer)
    return total.value()
