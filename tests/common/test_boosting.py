"""Gradient boosting: XGBoost's own over one site, Flower's rules over several."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import xgboost
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedXgbBagging, FedXgbCyclic
from flwr.supercore.task_identity import TaskIdentity
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.estimator_checks import parametrize_with_checks

from common import wire
from common.errors import ContributionError, SettingsError
from common.learners import BoostingHead, federate, make_learner
from common.learners.base import Contribution, Problem, SiteData
from common.learners.boosting import BOOST, FITTED, BoostingLearner
from common.learners.federate import fit_sites
from common.learners.gathering import gather
from common.learners.tree_arrays import LEAF, Trees

PLAIN = {"tree_method": "hist", "nthread": 1, "eta": 0.3, "max_depth": 6, "seed": 0}
Images = tuple[NDArray[np.float32], NDArray[np.intp]]


@pytest.fixture(autouse=True)
def _task(monkeypatch: pytest.MonkeyPatch) -> None:
    # Flower's messages carry the identity of the run that they are of.
    for name in ("run_id", "node_id", "task_id"):
        monkeypatch.setattr(TaskIdentity, f"_{name}", 1)


def _images(seed: int, n: int = 200, classes: int = 3) -> Images:
    rng = np.random.default_rng(seed)
    y = rng.choice(classes, n, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum())
    x = rng.normal(size=(n, 5)) + 1.5 * np.eye(classes, 5)[y]
    return x.astype(np.float32), y.astype(np.intp)


def _plain(x: Any, y: Any, rounds: int, *, weight: Any = None, classes: int = 3) -> Any:
    about = (
        {"objective": "binary:logistic", "base_score": 0.5}
        if classes == 2
        else {"objective": "multi:softprob", "num_class": classes, "base_score": 0.0}
    )
    return xgboost.train({**PLAIN, **about}, xgboost.DMatrix(x, y, weight=weight), rounds)


def _learner(settings: str, classes: int = 3) -> BoostingLearner:
    learner = make_learner("xgboost", Problem(tuple("abcdef"[:classes]), 5), settings)
    assert isinstance(learner, BoostingLearner)
    return learner


@pytest.mark.parametrize("method", ["bagging", "cyclic"])
@pytest.mark.parametrize("at_once", [12, 1])
@pytest.mark.parametrize("classes", [2, 3])
def test_over_one_site_it_is_xgboosts_own_training(method: str, at_once: int, classes: int) -> None:
    x, y = _images(0, classes=classes)
    probe, _ = _images(1, 300)
    head = federate(BoostingHead(method=method, rounds=12, at_once=at_once), {"only": (x, y)})
    weight = compute_sample_weight("balanced", y)
    plain = _plain(x, y, 12, weight=weight, classes=classes)
    wanted = plain.predict(xgboost.DMatrix(probe))
    if classes == 2:
        wanted = np.stack([1 - wanted, wanted], axis=1)
    np.testing.assert_allclose(head.predict_proba(probe), wanted, atol=2e-6)
    # The trees are the very same, split by split and leaf by leaf.
    said = np.concatenate(
        [
            np.where(np.array(tree["left_children"]) == LEAF, tree["split_conditions"], 0.0)
            for tree in _trees_of(plain)
        ]
    )
    np.testing.assert_array_equal(head.trees_.value[:, 0], said.astype(np.float32))


def _trees_of(booster: Any) -> list[dict[str, Any]]:
    model = json.loads(booster.save_raw("json"))
    trees: list[dict[str, Any]] = model["learner"]["gradient_booster"]["model"]["trees"]
    return trees


def test_side_by_side_sites_weigh_as_many_images_as_they_have() -> None:
    sites = {"north": _images(2, 150), "south": _images(3, 50)}
    probe, _ = _images(4, 100)
    head = federate(BoostingHead(rounds=3, at_once=3, class_weight="none"), sites)
    wanted = np.zeros((100, 3))
    for (x, y), share in zip(sites.values(), (0.75, 0.25), strict=True):
        grown = _plain(x, y, 3)
        wanted += share * grown.predict(xgboost.DMatrix(probe), output_margin=True)
    found = np.log(head.predict_proba(probe))
    np.testing.assert_allclose(found, log_softmax(wanted, axis=1), atol=1e-5)


def _reply(booster: bytes) -> Message:
    arrays = ArrayRecord([np.frombuffer(booster, dtype=np.uint8)])
    metrics = MetricRecord({"num-examples": 1})
    asked = Message(RecordDict(), dst_node_id=1, message_type="train")
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=asked)


def _last_rounds(booster: Any, rounds: int) -> bytes:
    kept = booster[booster.num_boosted_rounds() - rounds : booster.num_boosted_rounds()]
    return bytes(kept.save_raw("json"))


def _flowers_bagging(sites: list[Images], rounds: int, classes: int) -> Any:
    """Boost as Flower's own example does: from the model so far, sending the last round."""
    strategy, model = FedXgbBagging(), b""
    about = _plain(*sites[0], 1, classes=classes).save_config()
    for server_round in range(1, rounds + 1):
        strategy.current_bst = model
        replies = []
        for x, y in sites:
            if model:
                booster = xgboost.Booster(PLAIN)
                booster.load_model(bytearray(model))
                booster.load_config(about)
                booster.update(xgboost.DMatrix(x, y), booster.num_boosted_rounds())
            else:
                booster = _plain(x, y, 1, classes=classes)
            replies.append(_reply(_last_rounds(booster, 1)))
        arrays, _ = strategy.aggregate_train(server_round, replies)
        assert arrays is not None
        model = arrays["0"].numpy().tobytes()
    booster = xgboost.Booster()
    booster.load_model(bytearray(model))
    return booster


def test_unweighted_bagging_of_two_classes_is_flowers() -> None:
    sites = {"a": _images(5, classes=2), "b": _images(6, 120, classes=2)}
    probe, _ = _images(7, 200)
    head = federate(BoostingHead(rounds=4, at_once=1, average="none", class_weight="none"), sites)
    flowers = _flowers_bagging(list(sites.values()), 4, 2)
    assert len(_trees_of(flowers)) == len(head.trees_) == 8
    wanted = flowers.predict(xgboost.DMatrix(probe))
    np.testing.assert_allclose(head.predict_proba(probe)[:, 1], wanted, atol=1e-5)


def test_flowers_own_bagging_keeps_one_tree_of_each_reply_of_three_classes() -> None:
    """Why it is not called: with more than two classes a round is a tree a class."""
    sites = [_images(8), _images(9)]
    flowers = _flowers_bagging(sites, 1, 3)
    assert len(_trees_of(flowers)) == 3 + 1
    head = federate(BoostingHead(rounds=1, at_once=1), {"a": sites[0], "b": sites[1]})
    assert len(head.trees_) == 3 + 3


def test_sites_in_turn_are_flowers_cyclic_boosting() -> None:
    sites = {"b": _images(10), "a": _images(11, 120), "c": _images(12, 90)}
    probe, _ = _images(13, 200)
    head = federate(BoostingHead(method="cyclic", rounds=5, at_once=1, class_weight="none"), sites)
    strategy = FedXgbCyclic()
    booster: Any = None
    for server_round in range(1, 6):
        x, y = sites["abc"[(server_round - 1) % 3]]
        if booster is None:
            booster = _plain(x, y, 1)
        else:
            booster.update(xgboost.DMatrix(x, y), booster.num_boosted_rounds())
        arrays, _ = strategy.aggregate_train(
            server_round, [_reply(_last_rounds(booster, server_round))]
        )
        assert arrays is not None
        config = booster.save_config()
        booster = xgboost.Booster(PLAIN)
        booster.load_model(bytearray(arrays["0"].numpy().tobytes()))
        booster.load_config(config)
    wanted = booster.predict(xgboost.DMatrix(probe))
    np.testing.assert_allclose(head.predict_proba(probe), wanted, atol=1e-5)


def test_patience_keeps_the_rounds_of_the_least_loss_on_held_out_images() -> None:
    x, y = _images(14, 120)
    held, truth = _images(15, 80)
    learner = _learner("rounds=40 at_once=2 patience=3 class_weight=none eta=0.5")
    state = fit_sites(learner, {"s": SiteData(x, y)}, {"s": SiteData(held, truth)})
    booster = xgboost.train(
        {**PLAIN, "eta": 0.5, "objective": "multi:softprob", "num_class": 3, "base_score": 0.0},
        xgboost.DMatrix(x, y),
        40,
    )
    losses = {}
    for rounds in range(2, 41, 2):
        p = booster.predict(xgboost.DMatrix(held), iteration_range=(0, rounds))
        losses[rounds] = -np.log(p[np.arange(80), truth]).mean()
    # It sees as far as three messages beyond the least.
    best = 2
    for rounds in range(4, 41, 2):
        if rounds > best + 6:
            break
        best = rounds if losses[rounds] < losses[best] else best
    assert 2 <= best < 34
    assert state.arrays["boosted"].tolist() == [best]
    assert len(state.arrays["label"]) == 3 * best
    assert state.notes == (f"best after {best} rounds of boosting",)
    p = learner.head(state).predict_proba(held)
    wanted = booster.predict(xgboost.DMatrix(held), iteration_range=(0, best))
    np.testing.assert_allclose(p, wanted, atol=2e-6)


def test_under_a_policy_leaves_of_few_images_say_nothing() -> None:
    x, y = _images(16, 300)
    learner = _learner("rounds=2 at_once=2")
    first = learner.update(learner.start(), learner.contribute(SiteData(x, y), learner.start()))
    for minimum, silent in ((1, False), (15, True)):
        answer = learner.contribute(SiteData(x, y, minimum=minimum), first)
        trees = Trees.of(answer.arrays)
        held = np.bincount(trees.leaves(x).ravel(), minlength=len(trees.feature))
        few = (trees.feature == LEAF) & (held < 15)
        assert few.any()
        assert (not trees.value[few].any()) == silent
        assert trees.value[(trees.feature == LEAF) & (held >= 15)].all()


def test_under_a_policy_no_share_of_the_images_is_drawn() -> None:
    """A leaf that enough images come to may have been made by the few that were drawn."""
    data = SiteData(*_images(21), minimum=5)
    with pytest.raises(ContributionError, match="subsample: is 1"):
        fit_sites(_learner("rounds=1 subsample=0.5"), {"s": data})
    fit_sites(_learner("rounds=1 colsample=0.5"), {"s": data})


def test_a_site_without_training_images_adds_no_tree() -> None:
    empty = SiteData(np.zeros((0, 5), np.float32), np.zeros(0, np.intp))
    one, learner = SiteData(*_images(17)), _learner("rounds=2")
    alone, beside = fit_sites(learner, {"a": one}), fit_sites(learner, {"a": one, "b": empty})
    for name in alone.arrays:
        np.testing.assert_array_equal(alone.arrays[name], beside.arrays[name])


def test_its_states_and_answers_survive_the_wire() -> None:
    learner, data = _learner("rounds=4 at_once=2 patience=1"), SiteData(*_images(18))
    state = learner.start()
    while not state.done:
        there = wire.decode_state(wire.encode_state(state), learner.state_spec(state.stage))
        answer = wire.encode_contribution(learner.contribute(data, there))
        decoded = wire.decode_contribution(
            answer, learner.contribution_spec(state.stage), len(data)
        )
        learner.verify(state.stage, decoded)
        found = gather(learner, state.stage)
        found.add("site", decoded)
        state = found.step(state)
    last = wire.decode_state(wire.encode_state(state), learner.state_spec(FITTED))
    wanted = fit_sites(learner, {"site": data}, {"site": data})
    for name, array in wanted.arrays.items():
        np.testing.assert_array_equal(last.arrays[name], array)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("label", 3, "beyond the 3 classes"),
        ("value", 1e7, "says more than 1e\\+06"),
        ("feature", 5, "beyond the 5"),
        ("left", 0, "not below"),
    ],
)
def test_trees_that_no_images_can_have_grown_are_refused(
    name: str, value: float, message: str
) -> None:
    learner, data = _learner("rounds=1"), SiteData(*_images(19))
    first = learner.update(learner.start(), learner.contribute(data, learner.start()))
    answer = learner.contribute(data, first)
    learner.verify(BOOST, answer)
    arrays = {key: array.copy() for key, array in answer.arrays.items()}
    leaves = np.flatnonzero(arrays["feature"] == LEAF)
    at = leaves[0] if name == "value" else 0
    arrays[name].reshape(-1)[at] = value
    with pytest.raises(ContributionError, match=message):
        learner.verify(BOOST, Contribution(len(data), arrays))
    with pytest.raises(ContributionError, match="without training images"):
        learner.verify(BOOST, Contribution(0, answer.arrays))
    with pytest.raises(ContributionError, match="not each has a class"):
        few = {**answer.arrays, "label": answer.arrays["label"][1:]}
        learner.verify(BOOST, Contribution(len(data), few))


def test_without_xgboost_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "xgboost", None)
    with pytest.raises(SettingsError, match=r"pip install 'dermafed\[boosting\]'"):
        fit_sites(_learner(""), {"s": SiteData(*_images(20))})


def _not_applicable(head: BoostingHead) -> dict[str, str]:
    del head
    reason = "a weight is balanced or none: a mapping of classes is no setting of a federation"
    return {"check_class_weight_classifiers": reason}


@parametrize_with_checks(  # type: ignore[untyped-decorator]
    [BoostingHead(rounds=10)], expected_failed_checks=_not_applicable
)
def test_the_head_keeps_scikit_learns_contract(estimator: Any, check: Any) -> None:
    check(estimator)
