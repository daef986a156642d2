"""The random forest: scikit-learn's at one site, a weighted union over several."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.utils.estimator_checks import parametrize_with_checks

from common import wire
from common.errors import ContributionError, SettingsError
from common.learners import ForestHead, federate, make_learner
from common.learners.base import Contribution, Problem, SiteData, State
from common.learners.federate import fit_sites
from common.learners.forest import FITTED, GROW, ForestLearner
from common.learners.gathering import gather
from common.learners.tree_arrays import LEAF, Trees

CLASSES = ("a", "b", "c", "d")
PROBLEM = Problem(CLASSES, 6)


def _images(seed: int, n: int = 150, classes: int = 4) -> tuple[NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(seed)
    y = rng.choice(classes, n, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum())
    x = rng.normal(size=(n, 6)) + 1.5 * np.eye(classes, 6)[y]
    return x.astype(np.float32), y.astype(np.intp)


def _learner(settings: str = "trees=5") -> ForestLearner:
    learner = make_learner("forest", PROBLEM, settings)
    assert isinstance(learner, ForestLearner)
    return learner


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({"class_weight": "none", "max_depth": 4}, {"class_weight": None, "max_depth": 4}),
        ({"min_leaf": 7, "max_features": "log2"}, {"min_samples_leaf": 7, "max_features": "log2"}),
        ({"max_features": "all", "forest_seed": 3}, {"max_features": None, "random_state": 3}),
    ],
)
def test_over_one_site_it_is_scikit_learns_forest_on_that_site(
    ours: dict[str, Any], theirs: dict[str, Any]
) -> None:
    x, y = _images(0)
    probe, _ = _images(1, 500)
    head = federate(ForestHead(trees=20, **ours), {"only": (x, y)})
    standard = {"class_weight": "balanced", "random_state": 0}
    forest = RandomForestClassifier(20, **{**standard, **theirs}).fit(x, y)
    assert [len(one) for one in np.split(head.trees_.feature, head.trees_.start[1:-1])] == [
        one.tree_.node_count for one in forest.estimators_
    ]
    np.testing.assert_allclose(head.predict_proba(probe), forest.predict_proba(probe), atol=1e-12)
    np.testing.assert_array_equal(head.predict(probe), forest.predict(probe))


def test_over_sites_it_is_the_union_of_their_forests_weighted_by_images() -> None:
    sites = {"north": _images(2, 90), "south": _images(3, 30), "west": _images(4, 60, classes=2)}
    probe, _ = _images(5, 300)
    head = federate(ForestHead(trees=8), sites)
    y = np.concatenate([labels for _, labels in sites.values()])
    # The weights of the classes are those over all sites.
    weight = len(y) / (4 * np.bincount(y))
    wanted = np.zeros((len(probe), 4))
    for x, labels in sites.values():
        forest = RandomForestClassifier(8, random_state=0).fit(x, labels, weight[labels])
        wanted[:, forest.classes_] += len(labels) / 180 * forest.predict_proba(probe)
    np.testing.assert_allclose(head.predict_proba(probe), wanted, atol=1e-12)
    np.testing.assert_allclose(head.predict_proba(probe).sum(axis=1), 1.0)


def test_a_site_without_training_images_adds_no_tree() -> None:
    empty = SiteData(np.zeros((0, 6), np.float32), np.zeros(0, np.intp))
    one = SiteData(*_images(6))
    learner = _learner()
    alone, beside = fit_sites(learner, {"a": one}), fit_sites(learner, {"a": one, "b": empty})
    for name in alone.arrays:
        np.testing.assert_array_equal(alone.arrays[name], beside.arrays[name])


def test_under_a_policy_each_leaf_holds_its_minimum_and_names_a_class_alone() -> None:
    x, y = _images(7, 400)
    learner = _learner("trees=30")
    state = State(GROW, {"class_count": np.bincount(y)})
    trees = Trees.of(learner.contribute(SiteData(x, y, minimum=12), state).arrays)
    leaf = trees.feature == LEAF
    assert set(trees.value[leaf].ravel().tolist()) == {0.0, 1.0}
    # Bootstrapped images are some of these; every leaf holds at least as many of all.
    held = [np.bincount(column, minlength=len(leaf)) for column in trees.leaves(x).T]
    assert np.sum(held, axis=0)[leaf].min() >= 12
    free = Trees.of(learner.contribute(SiteData(x, y), state).arrays)
    loose = [np.bincount(column, minlength=len(free.feature)) for column in free.leaves(x).T]
    assert np.sum(loose, axis=0)[free.feature == LEAF].min() < 12


def test_under_a_policy_a_site_of_few_images_grows_no_tree() -> None:
    """Of six images drawn with replacement some are seldom drawn: a leaf would be over fewer."""
    x, y = _images(13, 6)
    learner, state = _learner("trees=30"), State(GROW, {"class_count": np.bincount(y, minlength=4)})
    assert learner.contribute(SiteData(x, y), state).count == 6
    with pytest.raises(ContributionError, match="too few images to grow trees"):
        learner.contribute(SiteData(x, y, minimum=5), state)


def test_a_class_without_training_images_is_never_predicted() -> None:
    x, y = _images(8)
    learner = make_learner("forest", Problem((*CLASSES, "e"), 6), "trees=3")
    head = learner.head(fit_sites(learner, {"s": SiteData(x, y)}))
    assert head.classes_.tolist() == list(CLASSES)
    assert head.predict_proba(x).shape == (150, 4)


def _grown(learner: ForestLearner, images: int = 60) -> Contribution:
    x, y = _images(9, images)
    count = np.bincount(y, minlength=4)
    return learner.contribute(SiteData(x, y), State(GROW, {"class_count": count}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a["value"].__imul__(2.0), "no share of each class"),
        (lambda a: a["value"].__isub__(0.5), "an inner node a value|no share of each class"),
    ],
)
def test_what_a_leaf_cannot_say_is_refused(change: Any, message: str) -> None:
    learner = _learner()
    good = _grown(learner)
    learner.verify(GROW, good)
    arrays = {name: array.copy() for name, array in good.arrays.items()}
    change(arrays)
    with pytest.raises(ContributionError, match=message):
        learner.verify(GROW, Contribution(good.count, arrays))


def test_more_or_fewer_trees_than_asked_for_are_refused() -> None:
    with pytest.raises(ContributionError, match="4, not 5"):
        _learner().verify(GROW, _grown(_learner("trees=4")))
    with pytest.raises(ContributionError, match="nodes in one"):
        _learner().verify(GROW, Contribution(2, _grown(_learner()).arrays))


def test_two_classes_are_needed() -> None:
    x, _ = _images(10)
    with pytest.raises(ContributionError, match="fewer than two classes"):
        fit_sites(_learner(), {"s": SiteData(x, np.zeros(len(x), np.intp))})


def test_it_starts_from_nothing() -> None:
    with pytest.raises(SettingsError, match="grown anew"):
        _learner().warm_start({})


def test_the_last_state_is_what_its_specification_says() -> None:
    learner = _learner()
    state = fit_sites(learner, {"s": SiteData(*_images(11))})
    assert state.stage == FITTED
    assert state.arrays.keys() == learner.state_spec(FITTED).keys()


def _not_applicable(head: ForestHead) -> dict[str, str]:
    del head
    reason = "a weight is balanced or none: a mapping of classes is no setting of a federation"
    return {"check_class_weight_classifiers": reason}


@parametrize_with_checks(  # type: ignore[untyped-decorator]
    [ForestHead(trees=10)], expected_failed_checks=_not_applicable
)
def test_the_head_keeps_scikit_learns_contract(estimator: Any, check: Any) -> None:
    check(estimator)


def test_its_states_and_answers_survive_the_wire() -> None:
    learner, data = _learner(), SiteData(*_images(12))
    state = learner.start()
    while not state.done:
        sent = wire.encode_state(state)
        there = wire.decode_state(sent, learner.state_spec(state.stage))
        answer = wire.encode_contribution(learner.contribute(data, there))
        spec = learner.contribution_spec(state.stage)
        found = gather(learner, state.stage)
        found.add("site", wire.decode_contribution(answer, spec, len(data)))
        state = found.step(state)
    last = wire.decode_state(wire.encode_state(state), learner.state_spec(FITTED))
    wanted = fit_sites(learner, {"site": data})
    for name, array in wanted.arrays.items():
        np.testing.assert_array_equal(last.arrays[name], array)
