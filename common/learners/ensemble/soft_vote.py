"""The soft vote: the mean of its members' probabilities.

Members by sums are each the pooled fit, and so is their vote: it equals scikit-learn's
``VotingClassifier(voting="soft")`` of the pooled fits. One member whose answers do not add up, as
a forest, makes a vote whose answers do not; the others' are then added all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import model_validator

from common.errors import SettingsError
from common.learners.base import Arrays, ArraySpec, Contribution, Head, Problem, SiteData, State
from common.learners.ensemble.blocks import columns_of_block
from common.learners.ensemble.ensemble_head import EnsembleHead
from common.learners.ensemble.members import (
    EnsembleSettings,
    Member,
    probabilities,
    uncalibrated,
    without_search,
)
from common.learners.ensemble.together import Together, take
from common.learners.settings import check_settings
from common.split import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray


class MembersSettings(EnsembleSettings):
    """Settings of ensembles of different learners.

    Attributes
    ----------
    members : str
        Learners, with commas between them, and settings of their own behind colons:
        ``logistic,ridge,svm:kernel=rff:components=1024``. No blanks, since blanks are between
        settings. A member that searches has the ensemble's `folds`. In a run with late fusion,
        ``block=images`` or ``block=metadata`` tells which columns a member sees.
    """

    members: str = "logistic,lda,ridge"

    def described(self) -> tuple[str, ...]:
        """Give each member as text."""
        return tuple(self.members.split(","))

    @property
    def fitted_members(self) -> str:
        """Give the members as an estimator has them."""
        return ",".join(without_search(text) for text in self.described())

    def uncalibrated(self) -> Self:
        """Give the settings of a fit for which nothing is held out to calibrate on."""
        members = ",".join(uncalibrated(text) for text in self.described())
        return self.model_copy(update={"members": members})


class SoftVoteSettings(MembersSettings):
    """Settings of the soft vote.

    Attributes
    ----------
    weights : str
        A number above 0 for each member, as ``2,1,1``; empty for equal weights.
    """

    weights: str = ""

    @property
    def shares(self) -> NDArray[np.float64]:
        """Give each member's share of the vote, shape (members,).

        Raises
        ------
        ValueError
            If the weights are no numbers above 0, one a member.
        """
        number = len(self.described())
        try:
            weights = [float(one) for one in self.weights.split(",")] if self.weights else None
        except ValueError as error:
            raise ValueError(f"weights: {self.weights!r} are no numbers, as 2,1,1") from error
        found = np.ones(number) if weights is None else np.array(weights)
        if len(found) != number or not (np.isfinite(found) & (found > 0)).all():
            raise ValueError(f"weights: give {number} numbers above 0, one a member")
        share: NDArray[np.float64] = found / found.sum()
        return share

    @model_validator(mode="after")
    def _weights_are_right(self) -> Self:
        _ = self.shares
        return self


class SoftVoteHead(EnsembleHead):
    """The soft vote as an estimator.

    Parameters
    ----------
    members, weights
        As in `SoftVoteSettings`.

    Attributes
    ----------
    shares_ : ndarray of float64, shape (members,)
        Each member's share of the vote.
    """

    settings_type = SoftVoteSettings
    shares_: NDArray[np.float64]

    def __init__(self, members: str = "logistic,lda,ridge", weights: str = "") -> None:
        self.members = members
        self.weights = weights

    def _take(self, arrays: Arrays, classes: NDArray[Any]) -> Sequence[Head]:
        settings = check_settings(SoftVoteSettings, self.get_params())
        self.shares_ = settings.shares
        return heads_of(settings.members_made(), arrays, classes)

    def _combine(self, x: NDArray[Any]) -> NDArray[np.float64]:
        total = np.zeros((len(x), len(self._all)))
        for share, head in zip(self.shares_, self.heads_, strict=True):
            total += share * probabilities(head, self._all, x)
        return total[:, self._present]


class SoftVoteLearner:
    """The learner of a vote whose members are learned by sums.

    Parameters
    ----------
    problem : Problem
        Classes and dimension.
    settings : SoftVoteSettings
        Its members.
    """

    def __init__(self, problem: Problem, settings: SoftVoteSettings) -> None:
        self.problem, self.settings = problem, settings
        members = settings.members_made()
        self.together = side_by_side(problem, members)
        self.stages = self.together.stages
        self.rounds = self.most_rounds = self.together.rounds

    def warm_start(self, arrays: Arrays) -> None:  # noqa: ARG002
        """Refuse: an ensemble starts anew."""
        raise SettingsError("warm start: is for logistic and svm; an ensemble starts anew")

    def start(self) -> State:
        """Give the state before the first round."""
        return self.together.start()

    def state_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Tell which arrays a state of this stage carries."""
        return self.together.state_spec(stage)

    def contribution_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Tell which arrays a contribution to this stage carries."""
        return self.together.contribution_spec(stage)

    def part(self, stage: str) -> Split:
        """Tell which part of the split a stage sums over."""
        return self.together.part(stage)

    def verify(self, stage: str, contribution: Contribution) -> None:
        """Refuse one site's answer that no images can have."""
        self.together.verify(stage, contribution)

    def contribute(self, data: SiteData, state: State) -> Contribution:
        """Answer for every member that is asked."""
        return self.together.contribute(data, state)

    def update(self, state: State, total: Contribution) -> State:
        """Take one step from the sums over all sites."""
        return self.together.update(state, total)

    def head(self, state: State) -> SoftVoteHead:
        """Make the fitted classifier."""
        head = SoftVoteHead(self.settings.fitted_members, self.settings.weights)
        return head.set_fitted(state.arrays, np.array(self.problem.classes))


class CollectiveSoftVoteLearner(SoftVoteLearner):
    """The learner of a vote of which some member's answers do not add up."""

    def apart(self, stage: str) -> bool:
        """Tell whether the answers to a stage are merged, not added."""
        return self.together.apart(stage)

    def merge(self, state: State, parts: Mapping[str, Contribution]) -> State:
        """Take one step from each site's answer."""
        return self.together.merge(state, parts)


def side_by_side(problem: Problem, members: Sequence[Member]) -> Together:
    """Make the members' learners, each over the columns that it sees."""
    return Together(
        problem,
        [member.learner(problem) for member in members],
        [member.name for member in members],
        [columns_of_block(problem, member.block) for member in members],
    )


def heads_of(members: Sequence[Member], arrays: Arrays, classes: NDArray[Any]) -> list[Head]:
    """Make the heads of members that were learned side by side."""
    return [
        member.head(take(arrays, f"{number}:"), classes) for number, member in enumerate(members)
    ]


def make_soft_vote(problem: Problem, settings: SoftVoteSettings) -> SoftVoteLearner:
    """Make the learner; one by sums where all members are."""
    learner = SoftVoteLearner(problem, settings)
    if learner.together.collective:
        return CollectiveSoftVoteLearner(problem, settings)
    return learner
