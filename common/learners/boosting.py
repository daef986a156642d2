"""Gradient boosting: sites boost in turn or side by side, the coordinator puts trees together.

*Bagging*: every site boosts some rounds from the trees so far, and what they have grown is put
side by side, each site's trees weighing as many images as it has. *Cyclic*: one site after
another boosts alone, in the order of the names. These are the rules of Flower's
``FedXgbBagging`` (with ``average=none``, which does not weigh) and ``FedXgbCyclic``. Flower's own
are not called: its bagging keeps one tree of each reply and gives it to class 0, which is right
for two classes only, and it parses what a site sends unchecked. Over one site either is XGBoost's
own training.

What leaves a site are its trees, as arrays. Under a policy with a minimum of m images, a leaf that
fewer come to says 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import log_softmax

from common.errors import ContributionError, SettingsError
from common.learners.base import Arrays, ArraySpec, Contribution, Problem, SiteData, State
from common.learners.booster import boost
from common.learners.boosting_head import BoostingHead, margins
from common.learners.boosting_settings import BoostingSettings
from common.learners.checked import check_arrays
from common.learners.class_counts import ClassCounts, class_weights
from common.learners.tree_arrays import LEAF, Trees, check_trees, concatenate, no_trees, tree_spec
from common.split import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

COUNT, BOOST, JUDGE, FITTED = "class_counts", "boost", "judge", "fitted"
MOST_TREES = 1_000_000
# No sane booster says more; sums of such stay finite.
_LOUDEST = 1e6


class BoostingLearner:
    """Class counts, then rounds of boosting, each judged where there is patience.

    Parameters
    ----------
    problem : Problem
        Classes and dimension.
    settings : BoostingSettings
        Of the boosting.
    """

    def __init__(self, problem: Problem, settings: BoostingSettings) -> None:
        self.problem, self.settings = problem, settings
        self._counts = ClassCounts(problem)
        self._classes = len(problem.classes)

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that a fit may go through, in their order."""
        return (COUNT, BOOST, JUDGE) if self.settings.patience else (COUNT, BOOST)

    @property
    def rounds(self) -> int | None:
        """The rounds that a fit takes; None where the validation images tell when it is done."""
        return None if self.settings.patience else self.most_rounds

    @property
    def most_rounds(self) -> int:
        """The rounds that a fit takes at most."""
        messages = -(-self.settings.rounds // self.settings.at_once)
        return 1 + messages * (2 if self.settings.patience else 1)

    def warm_start(self, arrays: Arrays) -> None:  # noqa: ARG002
        """Refuse: boosting starts from nothing."""
        raise SettingsError("warm start: is for logistic and svm; boosting starts from nothing")

    def start(self) -> State:
        """Give the state before the first round."""
        return State(COUNT, {})

    def apart(self, stage: str) -> bool:
        """Tell whether the answers to a stage are merged, not added."""
        return stage == BOOST

    def part(self, stage: str) -> Split:
        """Tell which part of the split a stage is about."""
        return Split.VALIDATION if stage == JUDGE else Split.TRAIN

    def state_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Tell which arrays a state of this stage carries."""
        if stage == COUNT:
            return {}
        return {
            "class_count": ArraySpec((self._classes,), "int64", minimum=0),
            "boosted": ArraySpec((1,), "int64", minimum=0),
            "dimension": ArraySpec((1,), "int64", minimum=1),
            **self._spec(MOST_TREES),
        }

    def contribution_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Tell which arrays an answer to this stage carries."""
        if stage == COUNT:
            return self._counts.spec()
        if stage == BOOST:
            return self._spec(self.settings.at_once * self._classes)
        if stage == JUDGE:
            return {"loss": ArraySpec((1,), minimum=0.0), "weight": ArraySpec((1,), minimum=0.0)}
        raise ContributionError(f"the learner has no stage {stage!r}")

    def _spec(self, trees: int) -> Mapping[str, ArraySpec]:
        label = ArraySpec((None,), "int64", minimum=0, most=trees)
        return {**tree_spec(1, trees), "label": label}

    def verify(self, stage: str, contribution: Contribution) -> None:
        """Refuse trees that no images can have grown."""
        if stage != BOOST:
            return
        trees, label = Trees.of(contribution.arrays), contribution.arrays["label"]
        if len(label) != len(trees):
            raise ContributionError("trees: not each has a class")
        if len(label) and label.max() >= self._classes:
            raise ContributionError(f"label: beyond the {self._classes} classes")
        if len(trees) and not contribution.count:
            raise ContributionError("trees: of a site without training images")
        check_trees(trees, self.problem.dimension, 2 ** (self.settings.max_depth + 1) - 1)
        if (np.abs(trees.value) > _LOUDEST).any():
            raise ContributionError(f"trees: a leaf says more than {_LOUDEST:g}")

    def contribute(self, data: SiteData, state: State) -> Contribution:
        """Count a site's images, boost on them, or sum the loss of those held out."""
        if state.stage == COUNT:
            return Contribution(len(data), self._counts.sums(data))
        count = state.arrays["class_count"]
        present = np.flatnonzero(count)
        weights = class_weights(count, self.settings.class_weight)
        if state.stage == JUDGE:
            return Contribution(len(data), _loss(data, state.arrays, weights))
        if not len(data):
            empty = {**no_trees(1).arrays(), "label": np.zeros(0, dtype=np.int64)}
            return Contribution(0, empty)
        if not weights[np.unique(data.y)].all():
            raise ContributionError("the class counts leave out a class of this site")
        if data.minimum > 1 and self.settings.subsample < 1.0:
            # A leaf that enough images come to may have been made by the few that were drawn.
            raise ContributionError("subsample: is 1 at a site with a policy; leave it out")
        done = int(state.arrays["boosted"][0])
        x = np.asarray(data.x, dtype=np.float32)
        trees, label = boost(
            x,
            np.searchsorted(present, data.y),
            weights[data.y],
            margins(state.arrays, x)[:, present],
            self._parameters(done),
            min(self.settings.at_once, self.settings.rounds - done),
        )
        if data.minimum > 1:
            trees = _silence(trees, x, data.minimum)
        return Contribution(len(data), {**trees.arrays(), "label": present[label]})

    def update(self, state: State, total: Contribution) -> State:
        """Go on from the class counts, or from the loss of the images held out."""
        if state.stage == COUNT:
            return self._begin(total.arrays["class_count"])
        weight = float(total.arrays["weight"][0])
        if not weight > 0.0:
            raise ContributionError("no site has a validation image: set patience=0")
        loss = float(total.arrays["loss"][0]) / weight
        boosted = int(state.arrays["boosted"][0])
        trees, rounds, waited = state.memory["best"].tolist()
        memory = dict(state.memory)
        if loss < state.memory["loss"][0]:
            memory["loss"] = np.array([loss])
            trees, rounds, waited = len(state.arrays["label"]), boosted, 0
        else:
            waited += 1
        memory["best"] = np.array([trees, rounds, waited])
        if boosted < self.settings.rounds and waited < self.settings.patience:
            return State(BOOST, state.arrays, memory=memory, turn=self._turn(boosted))
        arrays = _first_trees(state.arrays, trees, rounds)
        return State(FITTED, arrays, True, notes=(f"best after {rounds} rounds of boosting",))

    def merge(self, state: State, parts: Mapping[str, Contribution]) -> State:
        """Put what the sites have grown beside the trees so far."""
        images = sum(part.count for part in parts.values())
        grown, labels = [Trees.of(state.arrays)], [state.arrays["label"]]
        for part in parts.values():
            trees = Trees.of(part.arrays)
            if self.settings.average == "images" and len(trees):
                trees = _scaled(trees, part.count / images)
            grown.append(trees)
            labels.append(part.arrays["label"])
        boosted = int(state.arrays["boosted"][0]) + self.settings.at_once
        arrays = {
            **state.arrays,
            **concatenate(grown, 1).arrays(),
            "label": np.concatenate(labels),
            "boosted": np.array([min(boosted, self.settings.rounds)]),
        }
        check_arrays(arrays, self.state_spec(FITTED))
        if self.settings.patience:
            return State(JUDGE, arrays, memory=state.memory)
        if boosted >= self.settings.rounds:
            return State(FITTED, arrays, done=True)
        return State(BOOST, arrays, memory=state.memory, turn=self._turn(boosted))

    def head(self, state: State) -> BoostingHead:
        """Make the fitted classifier over the classes that have training images."""
        head = BoostingHead(**self.settings.model_dump(exclude={"folds", "ledger"}))
        return head.set_fitted(state.arrays, np.array(self.problem.classes))

    def _begin(self, count: NDArray[np.int64]) -> State:
        if np.count_nonzero(count) < 2:
            raise ContributionError("fewer than two classes have training images")
        arrays = {
            "class_count": count,
            "boosted": np.zeros(1, dtype=np.int64),
            "dimension": np.array([self.problem.dimension]),
            **no_trees(1).arrays(),
            "label": np.zeros(0, dtype=np.int64),
        }
        # The least loss; after how many trees and rounds; and messages since.
        memory = {"loss": np.array([np.finfo(np.float64).max]), "best": np.zeros(3, np.int64)}
        return State(BOOST, arrays, memory=memory, turn=self._turn(0))

    def _turn(self, boosted: int) -> int | None:
        """Tell whose turn it is; nobody's alone where all boost side by side."""
        if self.settings.method == "bagging":
            return None
        return boosted // self.settings.at_once

    def _parameters(self, done: int) -> dict[str, Any]:
        settings = self.settings
        return {
            "eta": settings.eta,
            "max_depth": settings.max_depth,
            "min_child_weight": settings.min_child_weight,
            "reg_lambda": settings.reg_lambda,
            "subsample": settings.subsample,
            "colsample_bytree": settings.colsample,
            # Each message draws other shares.
            "seed": settings.boost_seed + done,
            "tree_method": "hist",
            "nthread": 1,
        }


def _loss(data: SiteData, arrays: Arrays, weights: NDArray[np.float64]) -> Arrays:
    """Sum the weighted log loss of images, of classes that have training images."""
    present = np.flatnonzero(arrays["class_count"])
    known = np.isin(data.y, present)
    x, y = np.asarray(data.x, dtype=np.float32)[known], data.y[known]
    log_p = log_softmax(margins(arrays, x)[:, present].astype(np.float64), axis=1)
    own = log_p[np.arange(len(y)), np.searchsorted(present, y)]
    return {"loss": np.array([-(weights[y] @ own)]), "weight": np.array([weights[y].sum()])}


def _silence(trees: Trees, x: NDArray[np.float32], minimum: int) -> Trees:
    """Let leaves that few images come to say nothing."""
    held = np.bincount(trees.leaves(x).ravel(), minlength=len(trees.feature))
    few = (trees.feature == LEAF) & (held < minimum)
    return _with_values(trees, np.where(few[:, None], 0.0, trees.value))


def _scaled(trees: Trees, share: float) -> Trees:
    return _with_values(trees, trees.value * share)


def _with_values(trees: Trees, value: NDArray[np.float64]) -> Trees:
    return Trees.of({**trees.arrays(), "value": value})


def _first_trees(arrays: Arrays, count: int, boosted: int) -> dict[str, Any]:
    """Keep the first trees of a state."""
    trees = Trees.of(arrays)
    end = trees.start[count]
    kept = {name: array[:end] for name, array in trees.arrays().items()}
    start = {"start": trees.start[: count + 1], "label": arrays["label"][:count]}
    return {**arrays, **kept, **start, "boosted": np.array([boosted])}


def make_boosting(problem: Problem, settings: BoostingSettings) -> BoostingLearner:
    """Make the learner."""
    return BoostingLearner(problem, settings)
