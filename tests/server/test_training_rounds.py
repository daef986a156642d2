"""Rounds of fine-tuning over a grid whose sites are late, lost or wrong."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from flwr.app import Message

from common import wire
from common.disclosure import EXACT
from common.errors import RoundError
from common.evaluation import evaluation_sums
from common.finetuning.order import Order, Update
from common.finetuning.travel import Travel
from common.learners.base import ArraySpec
from common.site_info import SiteInfo
from common.split import Split
from server.finetuning.rounds import TrainingRounds
from server.link import RoundPolicy
from server.strategies import make_strategy
from server.sum_strategy import SumStrategy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.server.conftest import FakeGrid

CLASSES = ("bcc", "mel", "nv")
# Node ids are not in the order of names.
NODES = {7: "berlin", 3: "oslo", 9: "wien"}
COUNTS = {"berlin": [2, 3, 5], "oslo": [10, 0, 10], "wien": [20, 20, 30]}
SHARES = {"berlin": 0.1, "oslo": 0.2, "wien": 0.7}
MOVES = {"berlin": 1.0, "oslo": 2.0, "wien": 3.0}
SHAPES = {"trunk.a": (2, 2), "classifier.bias": (3,)}
RUN = "0123456789abcdef" * 2


def travel(companions: tuple[str, ...] = ()) -> Travel:
    weights = {name: ArraySpec(shape, "float32") for name, shape in SHAPES.items()}
    beside = {f"{one}|classifier.bias": weights["classifier.bias"] for one in companions}
    return cast(Travel, SimpleNamespace(weights=weights, companions=beside))


def zeros() -> dict[str, NDArray[Any]]:
    return {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}


class Hospital:
    """A site that moves every weight by its own number and predicts at random."""

    def __init__(self, node: int, spec: dict[str, ArraySpec]) -> None:
        self.name, self.spec = NODES[node], spec
        self.orders: list[Order] = []
        self.received: list[Any] = []
        self.alter: Callable[[dict[str, NDArray[Any]]], None] = lambda _arrays: None
        self.loss = 1.0

    def __call__(self, message: Message) -> Message:
        content = copy.deepcopy(message.content)
        order = wire.decode_order(content, len(CLASSES))
        self.orders.append(order)
        arrays = wire.unpack_arrays(content, self.spec)
        self.received.append(arrays)
        if message.metadata.message_type == wire.JUDGE:
            return Message(self.judge(order.part), reply_to=message)
        moved = {name: array + np.float32(MOVES[self.name]) for name, array in arrays.items()}
        self.alter(moved)
        return Message(wire.encode_update(Update(moved, 5, self.loss)), reply_to=message)

    def judge(self, part: Split) -> Any:
        rng = np.random.default_rng(4)
        n = sum(COUNTS[self.name]) if part is Split.TRAIN else 6
        y = rng.integers(3, size=n)
        sums = evaluation_sums(y, rng.dirichlet(np.ones(3), size=n), EXACT)
        return wire.encode_contribution(sums)


class Lab:
    """Three hospitals, the rounds over them, and what was reported."""

    def __init__(self, grid_of: Any, companions: tuple[str, ...] = ()) -> None:
        self.travel = travel(companions)
        spec = {**self.travel.weights, **self.travel.companions}
        self.hospitals = {node: Hospital(node, spec) for node in NODES}
        self.grid: FakeGrid = grid_of(self.hospitals)
        self.reports: list[str] = []
        self.repeats: list[tuple[str, int, dict[str, str]]] = []

    def rounds(self, retries: int = 0, **policy: Any) -> TrainingRounds:
        link = SumStrategy(self.grid, RoundPolicy(**policy), self.reports.append)
        sites = {
            node: SiteInfo(
                name, sum(COUNTS[name]) + 12, 5, sum(COUNTS[name]), 6, 6, CLASSES, (), "b", 1
            )
            for node, name in sorted(NODES.items(), key=lambda item: item[1])
        }
        counts = {name: np.array(count) for name, count in COUNTS.items()}
        return TrainingRounds(
            *(link, sites, counts, SHARES, RUN, {}, retries),
            lambda *repeat: self.repeats.append(repeat),
        )

    def train(self, rounds: TrainingRounds, name: str = "fedavg", number: int = 5) -> Any:
        counted = {"berlin": 3, "wien": number - 1}
        strategy = make_strategy(name, "")
        return rounds.train(number, 0, strategy, zeros(), self.travel, counted, {"wien": 1})

    def of(self, name: str) -> Hospital:
        return next(one for one in self.hospitals.values() if one.name == name)


@pytest.fixture
def lab(grid_of: Any) -> Lab:
    return Lab(grid_of)


def test_a_round_averages_by_the_coordinators_own_shares(lab: Lab) -> None:
    lab.of("wien").loss = 2.0
    trained = lab.train(lab.rounds())
    np.testing.assert_allclose(trained.weights["trunk.a"], np.full((2, 2), 2.6), rtol=1e-6)
    assert trained.loss == pytest.approx(0.3 + 1.4)
    assert trained.steps == {"berlin": 5, "oslo": 5, "wien": 5}
    assert list(trained.weights) == list(SHAPES)
    assert trained.left_out == {}


def test_each_site_is_told_its_own_state_and_the_counts_of_all(lab: Lab) -> None:
    lab.train(lab.rounds(), number=5)
    total = (32, 23, 45)
    for name, state, best in (("berlin", 3, 0), ("oslo", 0, 0), ("wien", 4, 1)):
        assert lab.of(name).orders == [Order(RUN, 5, state, best, Split.TRAIN, total)]


def test_sites_are_asked_in_the_order_of_their_names(lab: Lab) -> None:
    lab.train(lab.rounds())
    assert [message.metadata.dst_node_id for message in lab.grid.asked] == [7, 3, 9]
    assert {message.metadata.message_type for message in lab.grid.asked} == {wire.FINETUNE}


def test_bytes_are_counted_both_ways(lab: Lab) -> None:
    rounds = lab.rounds()
    lab.train(rounds)
    traffic = rounds.link.traffic
    asked = sum(wire.count_bytes(message.content) for message in lab.grid.asked)
    assert traffic.bytes_down == asked
    # Each site sends as many weights as it gets.
    assert 3 * 4 * 7 < traffic.bytes_up <= asked


def _nan(arrays: dict[str, NDArray[Any]]) -> None:
    arrays["trunk.a"][0, 0] = np.nan


def _wrong_shape(arrays: dict[str, NDArray[Any]]) -> None:
    arrays["trunk.a"] = np.zeros((4, 1), np.float32)


def _missing(arrays: dict[str, NDArray[Any]]) -> None:
    del arrays["trunk.a"]


def _doubles(arrays: dict[str, NDArray[Any]]) -> None:
    arrays["trunk.a"] = np.zeros((2, 2))


@pytest.mark.parametrize(
    ("alter", "reason"),
    [
        (_nan, "trunk.a: holds NaN"),
        (_wrong_shape, "wrong arrays"),
        (_missing, "wrong arrays"),
        (_doubles, "dtype"),
    ],
)
def test_a_wrong_update_is_left_out_by_name(lab: Lab, alter: Any, reason: str) -> None:
    lab.of("oslo").alter = alter
    trained = lab.train(lab.rounds(quorum=2))
    assert list(trained.left_out) == ["oslo"]
    assert reason in trained.left_out["oslo"]
    assert any("oslo left out" in line and reason in line for line in lab.reports)
    np.testing.assert_allclose(
        trained.weights["classifier.bias"], (0.1 * 1.0 + 0.7 * 3.0) / 0.8, rtol=1e-6
    )
    assert trained.steps == {"berlin": 5, "wien": 5}


def test_a_silent_site_is_left_out_by_name(lab: Lab) -> None:
    lab.grid.delay[3] = float("inf")
    trained = lab.train(lab.rounds(quorum=2, deadline=10.0))
    assert trained.left_out == {"oslo": "no reply within 10 s"}
    assert trained.repeats == 0


def test_below_the_quorum_a_round_is_repeated_with_the_same_order(lab: Lab) -> None:
    oslo = lab.of("oslo")

    def wrong_once(arrays: dict[str, NDArray[Any]]) -> None:
        if len(oslo.orders) < 2:
            _nan(arrays)

    oslo.alter = wrong_once
    trained = lab.train(lab.rounds(retries=1))
    assert trained.repeats == 1
    assert trained.left_out == {}
    assert [(kind, number, list(sites)) for kind, number, sites in lab.repeats] == [
        ("train", 5, ["oslo"])
    ]
    for hospital in lab.hospitals.values():
        first, second = hospital.orders
        assert first == second
        for name, array in hospital.received[0].items():
            np.testing.assert_array_equal(array, hospital.received[1][name])
    # Both rounds are not added up.
    np.testing.assert_allclose(trained.weights["trunk.a"], np.full((2, 2), 2.6), rtol=1e-6)


def test_a_round_that_stays_below_the_quorum_ends_the_run(lab: Lab) -> None:
    lab.of("oslo").alter = _nan
    with pytest.raises(RoundError, match=r"2 of 3 sites count, 3 are needed.*oslo: trunk.a"):
        lab.train(lab.rounds(retries=2))
    assert [len(one.orders) for one in lab.hospitals.values()] == [3, 3, 3]


def test_weights_that_overflow_in_the_strategy_end_the_run(lab: Lab) -> None:
    strategy = make_strategy("fedavgm", "server_lr=1e300")
    with (
        pytest.raises(RoundError, match="overflows"),
        pytest.warns(RuntimeWarning, match="overflow"),
    ):
        lab.rounds().train(1, 0, strategy, zeros(), lab.travel, {}, {})


def test_a_site_without_training_images_is_not_asked_to_train(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(COUNTS, "oslo", [0, 0, 0])
    rounds = lab.rounds()
    assert list(lab.train(rounds).steps) == ["berlin", "wien"]
    assert list(rounds.judge(1, Split.VALIDATION, zeros(), {}).of) == ["berlin", "oslo", "wien"]


def test_scaffolds_variates_travel_for_parameters_alone(grid_of: Any) -> None:
    lab = Lab(grid_of, companions=("control",))
    strategy = make_strategy("scaffold", "")
    trained = lab.rounds().train(1, 0, strategy, zeros(), lab.travel, {}, {})
    assert trained.weights.keys() == SHAPES.keys()
    assert lab.of("oslo").received[0].keys() == {*SHAPES, "control|classifier.bias"}
    control = strategy.state()["control"]
    np.testing.assert_allclose(control["classifier.bias"], np.full(3, 2.6), rtol=1e-6)
    assert not control["trunk.a"].any()


@pytest.mark.parametrize("name", ["fedprox", "krum", "median", "fednova", "qfedavg", "fedadam"])
def test_every_kind_of_strategy_goes_through_a_round(lab: Lab, name: str) -> None:
    trained = lab.train(lab.rounds(), name)
    assert {array.dtype.name for array in trained.weights.values()} == {"float32"}


def test_an_evaluation_gives_each_sites_sums(lab: Lab) -> None:
    answers = lab.rounds().judge(2, Split.VALIDATION, zeros(), {"wien": 2})
    assert {site: sums.count for site, sums in answers.of.items()} == dict.fromkeys(COUNTS, 6)
    assert lab.of("wien").orders == [Order(RUN, 2, 2, 0, Split.VALIDATION, (32, 23, 45))]


def test_an_evaluation_of_another_count_is_left_out(lab: Lab) -> None:
    oslo = lab.of("oslo")
    right = oslo.judge
    oslo.judge = lambda part: right(Split.TRAIN)  # type: ignore[method-assign]
    answers = lab.rounds(quorum=2).judge(0, Split.VALIDATION, zeros(), {})
    assert list(answers.of) == ["berlin", "wien"]
    assert "6 images were registered" in answers.left_out["oslo"]
