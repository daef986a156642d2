"""The random forest: each site grows trees on its own images, the coordinator puts them together.

The union of the sites' forests, each weighted by its images (Hauschild et al., "Federated Random
Forests can improve local performance of predictive models for various healthcare applications",
Bioinformatics 38(8), 2022). It is not the pooled forest: each tree has seen one site. Over one
site it is scikit-learn's ``RandomForestClassifier`` to the last tree.

What leaves a site are its trees: thresholds between its images' feature values, and what the
leaves say. Under a policy with a minimum of m images each leaf holds at least m, and names its
class alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from common.errors import ContributionError, SettingsError
from common.learners.base import Arrays, ArraySpec, Contribution, Problem, SiteData, State
from common.learners.checked import check_arrays
from common.learners.class_counts import ClassCounts, class_weights
from common.learners.settings import ClassWeight, LearnerSettings
from common.learners.tree_arrays import (
    LEAF,
    Trees,
    check_trees,
    concatenate,
    no_trees,
    tree_spec,
)
from common.learners.tree_head import TreeHead
from common.split import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.ensemble import RandomForestClassifier

COUNT, GROW, FITTED = "class_counts", "grow", "fitted"
# Sites of a merged forest, at most.
MOST_SITES = 10_000


class ForestSettings(LearnerSettings):
    """Settings of the random forest.

    Attributes
    ----------
    trees : int
        That each site grows.
    max_depth : int
        Of a tree; 0 for no limit.
    min_leaf : int
        Fewest images of a leaf.
    max_features : str
        Features looked at for each split: ``sqrt`` or ``log2`` of them, or ``all``.
    class_weight : str
        ``balanced`` by the counts over all sites, or ``none``.
    forest_seed : int
        Seed of every site's forest.
    """

    trees: int = Field(100, ge=1, le=10_000)
    max_depth: int = Field(0, ge=0, le=1_000)
    min_leaf: int = Field(1, ge=1)
    max_features: Literal["sqrt", "log2", "all"] = "sqrt"
    class_weight: ClassWeight = "balanced"
    forest_seed: int = Field(0, ge=0, lt=2**32)
    folds: int = Field(0, ge=0, le=0)
    ledger: Literal[False] = False


class ForestLearner:
    """A round of class counts, and one in which each site grows its trees.

    Parameters
    ----------
    problem : Problem
        Classes and dimension.
    settings : ForestSettings
        Of the trees.
    """

    stages = (COUNT, GROW)
    rounds = most_rounds = len(stages)

    def __init__(self, problem: Problem, settings: ForestSettings) -> None:
        self.problem, self.settings = problem, settings
        self._counts = ClassCounts(problem)
        self._classes = len(problem.classes)

    def warm_start(self, arrays: Arrays) -> None:  # noqa: ARG002
        """Refuse: trees are grown anew."""
        raise SettingsError("warm start: is for logistic and svm; a forest is grown anew")

    def start(self) -> State:
        """Give the state before the first round."""
        return State(COUNT, {})

    def apart(self, stage: str) -> bool:
        """Tell whether the answers to a stage are merged, not added."""
        return stage == GROW

    def part(self, stage: str) -> Split:  # noqa: ARG002
        """Tell which part of the split a stage is about."""
        return Split.TRAIN

    def state_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Tell which arrays a state of this stage carries."""
        if stage == COUNT:
            return {}
        counts = {"class_count": ArraySpec((self._classes,), "int64", minimum=0)}
        if stage == GROW:
            return counts
        trees = MOST_SITES * self.settings.trees
        return {
            **counts,
            **tree_spec(self._classes, trees),
            "weight": ArraySpec((None,), minimum=0.0, most=trees),
            "dimension": ArraySpec((1,), "int64", minimum=1),
        }

    def contribution_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Tell which arrays an answer to this stage carries."""
        if stage == COUNT:
            return self._counts.spec()
        if stage == GROW:
            return tree_spec(self._classes, self.settings.trees)
        raise ContributionError(f"the learner has no stage {stage!r}")

    def verify(self, stage: str, contribution: Contribution) -> None:
        """Refuse trees that no images can have grown."""
        if stage != GROW:
            return
        trees, images = Trees.of(contribution.arrays), contribution.count
        if len(trees) != (self.settings.trees if images else 0):
            raise ContributionError(f"trees: {len(trees)}, not {self.settings.trees}")
        # A leaf holds at least one image.
        check_trees(trees, self.problem.dimension, max(2 * images - 1, 0))
        says = trees.value[trees.feature == LEAF]
        if (says < 0.0).any() or (np.abs(says.sum(axis=1) - 1.0) > 1e-6).any():
            raise ContributionError("trees: what a leaf says is no share of each class")

    def contribute(self, data: SiteData, state: State) -> Contribution:
        """Count a site's images, or grow its trees."""
        if state.stage == COUNT:
            return Contribution(len(data), self._counts.sums(data))
        if not len(data):
            return Contribution(0, no_trees(self._classes).arrays())
        weights = class_weights(state.arrays["class_count"], self.settings.class_weight)
        # Of a tree whose images all weigh nothing, nobody could tell what its leaves say.
        if not weights[np.unique(data.y)].all():
            raise ContributionError("the class counts leave out a class of this site")
        # Scikit-learn draws other images where weights are given, be they all alike.
        weight = None if self.settings.class_weight == "none" else weights[data.y]
        forest = self._forest(data.minimum).fit(data.x, data.y, weight)
        least = min(int(one.tree_.n_node_samples.min()) for one in forest.estimators_)
        # A tree that is a leaf alone has as few images as its draw.
        if least < data.minimum:
            raise ContributionError("too few images to grow trees under this site's policy")
        grown = [
            _arrays_of(one.tree_, forest.classes_, self._classes, hard=data.minimum > 1)
            for one in forest.estimators_
        ]
        return Contribution(len(data), concatenate(grown, self._classes).arrays())

    def update(self, state: State, total: Contribution) -> State:
        """Go on from the class counts to the trees."""
        del state
        count = total.arrays["class_count"]
        if np.count_nonzero(count) < 2:
            raise ContributionError("fewer than two classes have training images")
        return State(GROW, {"class_count": count})

    def merge(self, state: State, parts: Mapping[str, Contribution]) -> State:
        """Put the sites' trees together, each site weighted by its images."""
        images = sum(part.count for part in parts.values())
        grown = [Trees.of(part.arrays) for part in parts.values()]
        shares = [part.count / images for part in parts.values()]
        weight = [
            np.full(len(trees), share / max(len(trees), 1))
            for trees, share in zip(grown, shares, strict=True)
        ]
        arrays = {
            "class_count": state.arrays["class_count"],
            **concatenate(grown, self._classes).arrays(),
            "weight": np.concatenate(weight),
            "dimension": np.array([self.problem.dimension]),
        }
        check_arrays(arrays, self.state_spec(FITTED))
        return State(FITTED, arrays, done=True)

    def head(self, state: State) -> ForestHead:
        """Make the fitted classifier over the classes that have training images."""
        head = ForestHead(**self.settings.model_dump(exclude={"folds", "ledger"}))
        return head.set_fitted(state.arrays, np.array(self.problem.classes))

    def _forest(self, minimum: int) -> RandomForestClassifier:
        # It takes long to import, and a coordinator does not need it.
        from sklearn.ensemble import RandomForestClassifier

        settings = self.settings
        return RandomForestClassifier(
            n_estimators=settings.trees,
            max_depth=settings.max_depth or None,
            min_samples_leaf=max(settings.min_leaf, minimum),
            max_features=None if settings.max_features == "all" else settings.max_features,
            random_state=settings.forest_seed,
        )


class ForestHead(TreeHead):
    """The union of the sites' random forests as an estimator.

    Parameters
    ----------
    trees, max_depth, min_leaf, max_features, class_weight, forest_seed
        As `ForestSettings`.

    Attributes
    ----------
    classes_ : ndarray, shape (k,)
        Classes that had training images.
    trees_ : Trees
        The trees; their values have a column for each of all classes.
    weight_ : ndarray of float64, shape (trees,)
        Of each tree, adding up to 1.
    """

    settings_type = ForestSettings
    weight_: NDArray[np.float64]

    def __init__(
        self,
        trees: int = 100,
        max_depth: int = 0,
        min_leaf: int = 1,
        max_features: str = "sqrt",
        class_weight: str = "balanced",
        forest_seed: int = 0,
    ) -> None:
        self.trees = trees
        self.max_depth = max_depth
        self.min_leaf = min_leaf
        self.max_features = max_features
        self.class_weight = class_weight
        self.forest_seed = forest_seed

    def _take(self, arrays: Arrays) -> None:
        self.weight_ = arrays["weight"]

    def _probabilities(self, x: NDArray[np.float32]) -> NDArray[np.float64]:
        """Average what the leaves say."""
        leaves = self.trees_.leaves(x)
        p = np.zeros((len(x), self.trees_.value.shape[1]))
        for tree, weight in enumerate(self.weight_):
            p += weight * self.trees_.value[leaves[:, tree]]
        return p[:, self._present]


def _arrays_of(
    tree: Any,  # noqa: ANN401
    labels: NDArray[np.intp],
    classes: int,
    *,
    hard: bool,
) -> Trees:
    """Take a tree of scikit-learn's apart."""
    leaf = tree.children_left == LEAF
    value = np.zeros((tree.node_count, classes))
    value[:, labels] = tree.value[:, 0, :]
    if hard:
        value = np.eye(classes)[value.argmax(axis=1)]
    value[~leaf] = 0.0
    return Trees(
        start=np.array([0, tree.node_count]),
        feature=np.where(leaf, LEAF, tree.feature).astype(np.int32),
        threshold=np.where(leaf, 0.0, tree.threshold),
        left=tree.children_left.astype(np.int32),
        right=tree.children_right.astype(np.int32),
        value=value,
    )


def make_forest(problem: Problem, settings: ForestSettings) -> ForestLearner:
    """Make the learner."""
    return ForestLearner(problem, settings)
