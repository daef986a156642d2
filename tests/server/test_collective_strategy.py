"""Rounds whose answers do not add up: a union of trees, and sites that boost in turn."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from flwr.app import Array
from sklearn.ensemble import RandomForestClassifier
from sklearn.utils.class_weight import compute_class_weight

from common import wire
from common.errors import RoundError, SettingsError
from common.learners import make_learner
from common.learners.base import Learner, Problem, State
from common.learners.tree_arrays import Trees
from common.split import Split
from server.collective_strategy import CollectiveStrategy
from server.journal import Journal
from server.link import RoundPolicy
from server.sum_strategy import SumStrategy

if TYPE_CHECKING:
    from pathlib import Path

    from flwr.app import Message

    from common.site_info import SiteInfo
    from tests.server.conftest import FakeGrid, Hospitals

FOREST, CYCLIC = "trees=6", "method=cyclic rounds=6 at_once=1 max_depth=2"


def _learner(hospitals: Hospitals, name: str, settings: str) -> Learner:
    site = next(iter(hospitals.sites.values()))
    return make_learner(name, Problem(site.classes, site.backbone.dimension), settings)


def _grid(hospitals: Hospitals, name: str, settings: str) -> FakeGrid:
    return hospitals.grid(learner=name, learner_settings=settings)


def _fit(
    grid: FakeGrid, hospitals: Hospitals, name: str, settings: str, **policy: Any
) -> tuple[State, dict[int, SiteInfo], list[str]]:
    said: list[str] = []
    strategy = CollectiveStrategy(grid, RoundPolicy(**policy), said.append)
    fingerprint = next(iter(hospitals.sites.values())).backbone.fingerprint
    sites = strategy.join(0, fingerprint, split_seed=1)
    state, members = strategy.fit(_learner(hospitals, name, settings), sites)
    return state, members, said


def _boosted_by(grid: FakeGrid, hospitals: Hospitals) -> list[str]:
    """Name the sites in the order in which they were asked to boost."""
    asked = [
        message.metadata.dst_node_id
        for message in grid.asked
        if message.metadata.message_type == wire.CONTRIBUTE
        and wire.decode_stage(message.content) == "boost"
    ]
    return [hospitals.sites[node].name for node in asked]


def test_the_forest_of_sites_is_the_union_of_scikit_learns_forests(hospitals: Hospitals) -> None:
    state, _, _ = _fit(_grid(hospitals, "forest", FOREST), hospitals, "forest", FOREST)
    x, _ = hospitals.pooled(Split.TEST)
    _, y = hospitals.pooled(Split.TRAIN)
    weight = compute_class_weight("balanced", classes=np.arange(3), y=y)
    wanted = np.zeros((len(x), 3))
    for site in hospitals.sites.values():
        data = site.part(Split.TRAIN)
        forest = RandomForestClassifier(6, random_state=0).fit(data.x, data.y, weight[data.y])
        wanted[:, forest.classes_] += len(data) / len(y) * forest.predict_proba(x)
    found = _learner(hospitals, "forest", FOREST).head(state).predict_proba(x)
    np.testing.assert_allclose(found, wanted, atol=1e-12)


def test_a_strategy_of_sums_refuses_what_does_not_add_up(hospitals: Hospitals) -> None:
    grid = _grid(hospitals, "forest", FOREST)
    strategy = SumStrategy(grid, RoundPolicy(), lambda _line: None)
    sites = strategy.join(0, next(iter(hospitals.sites.values())).backbone.fingerprint, 1)
    with pytest.raises(SettingsError, match="only sums are asked for"):
        strategy.fit(_learner(hospitals, "forest", FOREST), sites)


def test_sites_boost_alone_in_the_order_of_their_names(hospitals: Hospitals) -> None:
    grid = _grid(hospitals, "xgboost", CYCLIC)
    state, members, _ = _fit(grid, hospitals, "xgboost", CYCLIC)
    names = ["dias", "modern", "molemax", "rosendahl"]
    assert _boosted_by(grid, hospitals) == [*names, *names[:2]]
    assert [info.site for info in members.values()] == names
    assert len(Trees.of(state.arrays)) == 6 * 3


def _lost_once(kind: str) -> Any:
    def tamper(asked: Message, right: Message) -> list[Message]:
        if asked.metadata.message_type == wire.CONTRIBUTE:
            return [] if wire.decode_stage(asked.content) == kind else [right]
        return [right]

    return tamper


def test_a_site_that_is_lost_in_its_turn_is_left_out_and_the_others_begin_again(
    hospitals: Hospitals,
) -> None:
    grid = _grid(hospitals, "xgboost", CYCLIC)
    grid.tamper[hospitals.node("modern")] = _lost_once("boost")
    state, members, said = _fit(grid, hospitals, "xgboost", CYCLIC, quorum=3, deadline=60)
    assert [info.site for info in members.values()] == ["dias", "molemax", "rosendahl"]
    assert "starting again without them: sums of different sites do not mix" in said
    assert _boosted_by(grid, hospitals)[2:] == ["dias", "molemax", "rosendahl"] * 2
    hospitals.sites.pop(hospitals.node("modern"))
    alone, _, _ = _fit(_grid(hospitals, "xgboost", CYCLIC), hospitals, "xgboost", CYCLIC)
    for name, array in alone.arrays.items():
        np.testing.assert_array_equal(state.arrays[name], array)


def test_a_site_that_is_lost_in_its_turn_ends_a_run_that_needs_all(hospitals: Hospitals) -> None:
    grid = _grid(hospitals, "xgboost", CYCLIC)
    grid.tamper[hospitals.node("molemax")] = _lost_once("boost")
    with pytest.raises(RoundError, match=r"3 of 4 sites count, 4 are needed\. molemax: no reply"):
        _fit(grid, hospitals, "xgboost", CYCLIC, deadline=60)


def _break(name: str, value: Any) -> Any:
    def tamper(asked: Message, right: Message) -> list[Message]:
        trees = asked.metadata.message_type == wire.CONTRIBUTE and (
            wire.decode_stage(asked.content) == "grow"
        )
        if not trees:
            return [right]
        wrong = copy.deepcopy(right)
        arrays: Any = wrong.content["arrays"]
        held = arrays[name].numpy().copy()
        held.reshape(-1)[0] = value
        arrays[name] = Array(held)
        return [wrong]

    return tamper


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("left", 0, "trees: a node is not below the one that leads to it"),
        ("feature", 8, "trees: a feature beyond the 8 that there are"),
        ("threshold", np.nan, "threshold: holds NaN or infinity"),
        ("start", 1, "trees: start does not cover the nodes"),
    ],
)
def test_a_hostile_sites_trees_are_refused_and_the_model_is_that_of_the_others(
    hospitals: Hospitals, name: str, value: float, message: str
) -> None:
    grid = _grid(hospitals, "forest", FOREST)
    grid.tamper[hospitals.node("molemax")] = _break(name, value)
    state, members, said = _fit(grid, hospitals, "forest", FOREST, quorum=3)
    assert [info.site for info in members.values()] == ["dias", "modern", "rosendahl"]
    assert any(message in line for line in said)
    hospitals.sites.pop(hospitals.node("molemax"))
    alone, _, _ = _fit(_grid(hospitals, "forest", FOREST), hospitals, "forest", FOREST)
    for key, array in alone.arrays.items():
        np.testing.assert_array_equal(state.arrays[key], array)


def test_a_coordinator_that_dies_goes_on_with_the_site_whose_turn_it_is(
    hospitals: Hospitals, tmp_path: Path
) -> None:
    whole, _, _ = _fit(_grid(hospitals, "xgboost", CYCLIC), hospitals, "xgboost", CYCLIC)
    learner = _learner(hospitals, "xgboost", CYCLIC)
    fingerprint = next(iter(hospitals.sites.values())).backbone.fingerprint
    grid = _grid(hospitals, "xgboost", CYCLIC)
    grid.tamper[hospitals.node("rosendahl")] = _lost_once("boost")
    with Journal(tmp_path, "run") as journal, pytest.raises(RoundError):
        strategy = CollectiveStrategy(grid, RoundPolicy(deadline=60), lambda _line: None)
        strategy.fit(learner, strategy.join(0, fingerprint, 1), journal=journal)
    again = _grid(hospitals, "xgboost", CYCLIC)
    with Journal(tmp_path, "run") as journal:
        strategy = CollectiveStrategy(again, RoundPolicy(), lambda _line: None)
        state, _ = strategy.fit(learner, strategy.join(0, fingerprint, 1), journal=journal)
    assert _boosted_by(again, hospitals) == ["rosendahl", "dias", "modern"]
    for name, array in whole.arrays.items():
        np.testing.assert_array_equal(state.arrays[name], array)
