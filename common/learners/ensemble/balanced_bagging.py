"""Balanced bagging: heads by sums over undersamples of the training images, averaged.

Each bag holds of every class about as many images as the rarest class has over all sites
(imbalanced-learn's ``BalancedBaggingClassifier`` with undersampling). A round of class counts tells
sites which share of each class to draw; they draw it alone, by seed and bag, within each fold.
The sites' own rarest classes would leave of a large site hardly an image, and of a site with one
class nothing. What rounding leaves uneven, the head's class weights even out.

The difference of two bags' sums is that of the images that only one of them holds. Under a policy
with a minimum of m images, each class of a site (of each fold) is therefore dealt once and for all
into blocks of at least m images, and bags draw whole blocks: no combination of a site's sums is
over fewer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import Field

from common.errors import ContributionError, SettingsError
from common.learners.base import (
    Arrays,
    ArraySpec,
    Contribution,
    Head,
    Problem,
    SiteData,
    State,
)
from common.learners.class_counts import ClassCounts
from common.learners.composed import FITTED
from common.learners.ensemble.ensemble_head import EnsembleHead
from common.learners.ensemble.members import (
    MOST_MEMBERS,
    EnsembleSettings,
    Member,
    probabilities,
    read_member,
    uncalibrated,
    without_search,
)
from common.learners.ensemble.soft_vote import heads_of
from common.learners.ensemble.some_rows import SomeRows
from common.learners.settings import check_settings
from common.split import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COUNT = "class_counts"
_SHARE = "class_share"


class BalancedBaggingSettings(EnsembleSettings):
    """Settings of balanced bagging.

    Attributes
    ----------
    base : str
        The linear head of every bag, its settings behind colons: ``svm:kernel=rff:gamma=0.1``.
    bags : int
        How many.
    bag_seed : int
        Seed of the draws.
    """

    base: str = "logistic"
    bags: int = Field(10, ge=1, le=MOST_MEMBERS)
    bag_seed: int = Field(0, ge=0, lt=2**32)

    def members_made(self) -> tuple[Member, ...]:
        """Read the base, once a bag."""
        base = read_member(self.base, self.folds, self.unless_told, linear=True)
        return (base,) * self.bags

    def uncalibrated(self) -> Self:
        """Give the settings of a fit for which nothing is held out to calibrate on."""
        return self.model_copy(update={"base": uncalibrated(self.base)})


class BalancedBaggingHead(EnsembleHead):
    """Balanced bagging as an estimator.

    Parameters
    ----------
    base, bags, bag_seed
        As in `BalancedBaggingSettings`.
    """

    settings_type = BalancedBaggingSettings

    def __init__(self, base: str = "logistic", bags: int = 10, bag_seed: int = 0) -> None:
        self.base = base
        self.bags = bags
        self.bag_seed = bag_seed

    def _take(self, arrays: Arrays, classes: NDArray[Any]) -> Sequence[Head]:
        settings = check_settings(BalancedBaggingSettings, self.get_params())
        return heads_of(settings.members_made(), arrays, classes)

    def _combine(self, x: NDArray[Any]) -> NDArray[np.float64]:
        said = [probabilities(head, self._all, x) for head in self.heads_]
        mean: NDArray[np.float64] = np.mean(said, axis=0)[:, self._present]
        return mean


class _Bags(SomeRows):
    """Learners side by side, each of which sees its own bag of the training images."""

    what = "bag"

    def __init__(self, problem: Problem, members: Sequence[Member], seed: int) -> None:
        learners = [member.learner(problem) for member in members]
        super().__init__(problem, learners, [member.name for member in members])
        self._seed = seed

    def _rows(self, number: int, own: str, data: SiteData, state: State) -> NDArray[np.intp]:
        if self.learners[number].part(own) is Split.TRAIN:
            return draw_bag(data, state.arrays[_SHARE], self._seed, number)
        return np.arange(len(data))


class BalancedBaggingLearner:
    """A round of class counts, then the rounds of all bags side by side.

    Parameters
    ----------
    problem : Problem
        Classes and dimension.
    settings : BalancedBaggingSettings
        The base, and how many bags.
    """

    def __init__(self, problem: Problem, settings: BalancedBaggingSettings) -> None:
        self.problem, self.settings = problem, settings
        self.bags = _Bags(problem, settings.members_made(), settings.bag_seed)
        self._counts = ClassCounts(problem)
        self.stages: tuple[str, ...] = (_COUNT, *self.bags.stages)
        together = self.bags.rounds
        self.rounds = self.most_rounds = None if together is None else together + 1

    def warm_start(self, arrays: Arrays) -> None:  # noqa: ARG002
        """Refuse: an ensemble starts anew."""
        raise SettingsError("warm start: is for logistic and svm; an ensemble starts anew")

    def start(self) -> State:
        """Give the state before the first round."""
        return State(_COUNT, {})

    def state_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Tell which arrays a state of this stage carries."""
        if stage == _COUNT:
            return {}
        if stage == FITTED:
            return self.bags.state_spec(stage)
        share = ArraySpec((len(self.problem.classes),), minimum=0.0)
        return {_SHARE: share, **self.bags.state_spec(stage)}

    def contribution_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Tell which arrays a contribution to this stage carries."""
        return self._counts.spec() if stage == _COUNT else self.bags.contribution_spec(stage)

    def part(self, stage: str) -> Split:
        """Tell which part of the split a stage sums over."""
        return Split.TRAIN if stage == _COUNT else self.bags.part(stage)

    def verify(self, stage: str, contribution: Contribution) -> None:
        """Refuse one site's sums that no images can have."""
        if stage != _COUNT:
            self.bags.verify(stage, contribution)

    def contribute(self, data: SiteData, state: State) -> Contribution:
        """Count a site's images, or sum over each bag's."""
        if state.stage == _COUNT:
            return Contribution(len(data), self._counts.sums(data))
        return self.bags.contribute(data, state)

    def update(self, state: State, total: Contribution) -> State:
        """Tell the share of each class, or take one step of each bag."""
        if state.stage == _COUNT:
            count = total.arrays["class_count"]
            if np.count_nonzero(count) < 2:
                raise ContributionError("fewer than two classes have training images")
            share = count[count > 0].min() / np.maximum(count, 1)
            after = self.bags.start()
        else:
            share = state.arrays[_SHARE]
            after = self.bags.update(state, total)
        return after if after.done else replace(after, arrays={**after.arrays, _SHARE: share})

    def head(self, state: State) -> BalancedBaggingHead:
        """Make the fitted classifier."""
        settings = self.settings
        head = BalancedBaggingHead(without_search(settings.base), settings.bags, settings.bag_seed)
        return head.set_fitted(state.arrays, np.array(self.problem.classes))


def draw_bag(data: SiteData, share: NDArray[np.float64], seed: int, bag: int) -> NDArray[np.intp]:
    """Draw a site's part of a bag.

    Parameters
    ----------
    data : SiteData
        The site's training images.
    share : ndarray of float64, shape (classes,)
        Of each class, which share to draw.
    seed, bag : int
        What is drawn by.

    Returns
    -------
    ndarray of intp
        Positions, in order; of each class and fold with images, one block of the policy's minimum
        or more. A class and fold with fewer images than the minimum is left out.
    """
    drawn = [np.zeros(0, dtype=np.intp)]
    folds = np.zeros(len(data), dtype=np.intp) if data.fold is None else data.fold
    for label in np.unique(data.y):
        for fold in np.unique(folds[data.y == label]):
            rows = np.flatnonzero((data.y == label) & (folds == fold))
            number = len(rows) // data.minimum
            if not number:
                continue
            # Neither bag nor seed may move the blocks, or differences would cut them.
            dealt = np.random.default_rng([label, fold]).permutation(rows)
            blocks = np.array_split(dealt, number)
            wanted = int(np.clip(np.floor(share[label] * number + 0.5), 1, number))
            taken = np.random.default_rng([seed, bag, label, fold]).choice(
                number, wanted, replace=False
            )
            drawn += [blocks[index] for index in taken]
    return np.sort(np.concatenate(drawn))


def make_balanced_bagging(
    problem: Problem, settings: BalancedBaggingSettings
) -> BalancedBaggingLearner:
    """Make the learner."""
    return BalancedBaggingLearner(problem, settings)
