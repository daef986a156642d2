"""What becomes of the sites' answers to a stage: one total, or each site's own part."""

from __future__ import annotations

from typing import Protocol

from common.learners.base import CollectiveLearner, Contribution, Learner, State
from common.learners.total import Total


class Gathering(Protocol):
    """Answers on their way to a step; added in the order of the sites' names."""

    @property
    def count(self) -> int:
        """Images that the answers so far are of."""

    def add(self, site: str, answer: Contribution) -> None:
        """Take a site's answer."""

    def step(self, state: State) -> State:
        """Give the state that the answers lead to; `ContributionError` if there is none."""


class Sum:
    """Answers that add up: none is kept."""

    def __init__(self, learner: Learner) -> None:
        self._learner, self._total = learner, Total()

    @property
    def count(self) -> int:
        """Images that the answers so far are of."""
        return self._total.count

    def add(self, site: str, answer: Contribution) -> None:  # noqa: ARG002
        """Take a site's answer."""
        self._total.add(answer)

    def step(self, state: State) -> State:
        """Give the state that the total leads to."""
        return self._learner.update(state, self._total.value())


class Parts:
    """Answers that do not add up: each is kept under its site's name."""

    def __init__(self, learner: CollectiveLearner) -> None:
        self._learner = learner
        self._parts: dict[str, Contribution] = {}

    @property
    def count(self) -> int:
        """Images that the answers so far are of."""
        return sum(part.count for part in self._parts.values())

    def add(self, site: str, answer: Contribution) -> None:
        """Take a site's answer."""
        self._parts[site] = answer

    def step(self, state: State) -> State:
        """Give the state that the parts lead to."""
        return self._learner.merge(state, self._parts)


def gather(learner: Learner, stage: str) -> Gathering:
    """Begin what a stage's answers are gathered in."""
    if isinstance(learner, CollectiveLearner) and learner.apart(stage):
        return Parts(learner)
    return Sum(learner)
