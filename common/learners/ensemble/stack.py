"""Stacking: a last logistic regression over the members' log probabilities.

Members learn from training images; the last head learns from what they say of the validation
images, whose lesions no member has seen (Wolpert, "Stacked generalization", Neural Networks 5,
1992). Its rounds are Newton's on sums, so that it is the pooled fit of scikit-learn's
``LogisticRegression`` on the pooled log probabilities. It has as many coefficients a class as
there are members times classes: with few validation images a soft vote is safer, and a class
without any is never named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from common.errors import ContributionError, SettingsError
from common.learners.base import Arrays, ArraySpec, Contribution, Head, Problem, SiteData, State
from common.learners.composed import FITTED, HeadLearner
from common.learners.ensemble.ensemble_head import EnsembleHead
from common.learners.ensemble.members import probabilities
from common.learners.ensemble.soft_vote import MembersSettings, heads_of, side_by_side
from common.learners.ensemble.together import put, take
from common.learners.logistic import LogisticHead, LogisticSettings, make_logistic
from common.learners.settings import ClassWeight, check_settings
from common.split import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

# What the stages and arrays of the last head begin with.
_LAST = "last-"
# A probability below this counts as this: trees say 0, whose logarithm is no number.
_LEAST = 1e-12


class StackSettings(MembersSettings):
    """Settings of stacking.

    Members are not calibrated unless theirs say so: the last head does what that would.

    Attributes
    ----------
    alpha_per_image : float
        Penalty of the last head, divided by the number of validation images.
    class_weight : str
        ``balanced`` or ``none``, of the last head.
    """

    alpha_per_image: float = Field(0.1, gt=0.0, allow_inf_nan=False)
    class_weight: ClassWeight = "balanced"

    @property
    def unless_told(self) -> str:
        """Give the calibration of members that name none."""
        return "none"

    @property
    def last(self) -> LogisticSettings:
        """Give the settings of the last head."""
        return LogisticSettings(
            alpha_per_image=self.alpha_per_image, class_weight=self.class_weight, solver="newton"
        )


class StackHead(EnsembleHead):
    """Stacking as an estimator.

    Parameters
    ----------
    members, alpha_per_image, class_weight
        As in `StackSettings`.

    Attributes
    ----------
    last_ : LogisticHead
        The last head, over the members' log probabilities.
    """

    settings_type = StackSettings
    last_: LogisticHead

    def __init__(
        self,
        members: str = "logistic,lda,ridge",
        alpha_per_image: float = 0.1,
        class_weight: str = "balanced",
    ) -> None:
        self.members = members
        self.alpha_per_image = alpha_per_image
        self.class_weight = class_weight

    def _take(self, arrays: Arrays, classes: NDArray[Any]) -> Sequence[Head]:
        settings = check_settings(StackSettings, self.get_params())
        parameters = LogisticHead().get_params()
        self.last_ = LogisticHead(**{name: getattr(settings.last, name) for name in parameters})
        self.last_.set_fitted(take(arrays, _LAST), classes)
        return heads_of(settings.members_made(), arrays, classes)

    def _combine(self, x: NDArray[Any]) -> NDArray[np.float64]:
        return self.last_.predict_proba(log_probabilities(self.heads_, self._all, x))


class StackLearner:
    """The learner of a stack whose members are learned by sums.

    Parameters
    ----------
    problem : Problem
        Classes and dimension.
    settings : StackSettings
        Its members and its last head.
    """

    def __init__(self, problem: Problem, settings: StackSettings) -> None:
        self.problem, self.settings = problem, settings
        self.members = settings.members_made()
        self.together = side_by_side(problem, self.members)
        width = len(self.members) * len(problem.classes)
        self.last: HeadLearner = make_logistic(Problem(problem.classes, width), settings.last)
        own = tuple(f"{_LAST}{stage}" for stage in self.last.stages)
        self.stages: tuple[str, ...] = (*self.together.stages, *own)
        # Newton's method takes as many as it takes.
        self.rounds: int | None = None
        self.most_rounds: int | None = None

    def warm_start(self, arrays: Arrays) -> None:  # noqa: ARG002
        """Refuse: an ensemble starts anew."""
        raise SettingsError("warm start: is for logistic and svm; an ensemble starts anew")

    def start(self) -> State:
        """Give the state before the first round."""
        return self.together.start()

    def state_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Tell which arrays a state of this stage carries: of the last head, the members' too."""
        if not (stage == FITTED or self._is_last(stage)):
            return self.together.state_spec(stage)
        own = self.last.state_spec(stage.removeprefix(_LAST))
        return {
            **self.together.state_spec(FITTED),
            **{f"{_LAST}{name}": spec for name, spec in own.items()},
        }

    def contribution_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Tell which arrays a contribution to this stage carries."""
        if self._is_last(stage):
            return self.last.contribution_spec(stage.removeprefix(_LAST))
        return self.together.contribution_spec(stage)

    def part(self, stage: str) -> Split:
        """Tell which part of the split a stage sums over."""
        return Split.VALIDATION if self._is_last(stage) else self.together.part(stage)

    def verify(self, stage: str, contribution: Contribution) -> None:
        """Refuse one site's answer that no images can have."""
        if self._is_last(stage):
            self.last.verify(stage.removeprefix(_LAST), contribution)
        else:
            self.together.verify(stage, contribution)

    def contribute(self, data: SiteData, state: State) -> Contribution:
        """Answer for every member that is asked, or for the last head."""
        if not self._is_last(state.stage):
            return self.together.contribute(data, state)
        classes = np.array(self.problem.classes)
        heads = heads_of(self.members, state.arrays, classes)
        said = SiteData(log_probabilities(heads, classes, data.x), data.y, None, data.minimum)
        return self.last.contribute(said, self._of_last(state))

    def update(self, state: State, total: Contribution) -> State:
        """Take one step from the sums over all sites."""
        if not self._is_last(state.stage):
            return self._go_on(self.together.update(state, total))
        if state.stage == self._first_of_last:
            known = np.count_nonzero(total.arrays["class_count"])
            if known < 2:
                raise ContributionError(
                    f"stack: {known} classes have validation images, and 2 are needed; "
                    "take soft-vote"
                )
        after = self.last.update(self._of_last(state), total)
        members = {
            name: array for name, array in state.arrays.items() if not name.startswith(_LAST)
        }
        notes = list(after.notes)
        if after.done:
            # What the model can name is what its last head has seen.
            count = after.arrays["class_count"]
            lost = np.flatnonzero((members["class_count"] > 0) & (count == 0))
            names = ", ".join(self.problem.classes[label] for label in lost)
            if names:
                notes.append(f"stack: no validation image of {names}, so it is never named")
            members["class_count"] = count
        arrays = {**members, **dict(put(after.arrays, _LAST))}
        stage = FITTED if after.done else f"{_LAST}{after.stage}"
        return State(stage, arrays, after.done, after.memory, tuple(notes))

    def head(self, state: State) -> StackHead:
        """Make the fitted classifier."""
        settings = self.settings
        head = StackHead(settings.fitted_members, settings.alpha_per_image, settings.class_weight)
        return head.set_fitted(state.arrays, np.array(self.problem.classes))

    @property
    def _first_of_last(self) -> str:
        return f"{_LAST}{self.last.start().stage}"

    def _go_on(self, after: State) -> State:
        """Go on to the last head once all members are done."""
        return replace(after, stage=self._first_of_last, done=False) if after.done else after

    def _of_last(self, state: State) -> State:
        own = take(state.arrays, _LAST)
        memory = {} if state.stage == self._first_of_last else state.memory
        return State(state.stage.removeprefix(_LAST), own, memory=memory)

    def _is_last(self, stage: str) -> bool:
        return stage.startswith(_LAST)


class CollectiveStackLearner(StackLearner):
    """The learner of a stack of which some member's answers do not add up."""

    def apart(self, stage: str) -> bool:
        """Tell whether the answers to a stage are merged, not added."""
        return not self._is_last(stage) and self.together.apart(stage)

    def merge(self, state: State, parts: Mapping[str, Contribution]) -> State:
        """Take one step from each site's answer."""
        return self._go_on(self.together.merge(state, parts))


def log_probabilities(
    heads: Sequence[Head], classes: NDArray[Any], x: NDArray[Any]
) -> NDArray[np.float64]:
    """Give what members say of images, one member after the other: (n, members x classes)."""
    said = [np.log(np.maximum(probabilities(head, classes, x), _LEAST)) for head in heads]
    return np.hstack(said)


def make_stack(problem: Problem, settings: StackSettings) -> StackLearner:
    """Make the learner; one by sums where all members are."""
    learner = StackLearner(problem, settings)
    if learner.together.collective:
        return CollectiveStackLearner(problem, settings)
    return learner
