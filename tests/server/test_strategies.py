"""The coordinator's half of each strategy, against hand computation on two sites."""

from __future__ import annotations

import logging
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Krum

from common.errors import RoundError, SettingsError
from common.finetuning.strategies import STRATEGIES
from server.strategies import Aggregation, make_strategy

if TYPE_CHECKING:
    from numpy.typing import NDArray

# One array of two entries at the start, and what two sites made of it: changes -1, 2 and 3, -2.
START = {"a": [1.0, 2.0]}
SITES = ({"a": [0.0, 4.0]}, {"a": [4.0, 0.0]})
SHARES, LOSSES, STEPS = (0.25, 0.75), (4.0, 1.0), (2, 4)
# Weighted mean of the sites, and of their changes.
MEAN, CHANGE = [3.0, 1.0], [2.0, -1.0]

AT_THE_SITE = ("fedavg", "fedprox", "fedbn", "fedper", "fedrep", "ditto", "moon", "gradual-sam")


class Nodes:
    def get_node_ids(self) -> list[int]:
        return [4, 2, 8]


def record(arrays: Mapping[str, Any]) -> ArrayRecord:
    return ArrayRecord({n: Array(np.array(a, np.float32)) for n, a in arrays.items()})


def reply(arrays: Mapping[str, Any], share: float, loss: float = 1.0, steps: int = 1) -> Message:
    metrics = MetricRecord({"num-examples": share, "loss": loss, "steps": steps})
    return Message(RecordDict({"arrays": record(arrays), "metrics": metrics}), 1, "train")


def configure(
    strategy: Aggregation, arrays: Mapping[str, Any], number: int = 1
) -> dict[str, NDArray[Any]]:
    """Configure a round; gives what is sent."""
    grid = cast(Grid, Nodes())
    messages = list(strategy.configure_train(number, record(arrays), ConfigRecord(), grid))
    assert sorted(message.metadata.dst_node_id for message in messages) == [2, 4, 8]
    sent = cast(ArrayRecord, messages[0].content["arrays"])
    return {name: array.numpy() for name, array in sent.items()}


def aggregate(
    strategy: Aggregation, replies: Sequence[Message], number: int = 1
) -> dict[str, NDArray[Any]]:
    arrays, metrics = strategy.aggregate_train(number, replies)
    assert arrays is not None
    assert metrics is not None
    found = {name: array.numpy() for name, array in arrays.items()}
    assert {array.dtype.name for array in found.values()} == {"float32"}
    return found


def one_round(
    strategy: Aggregation, start: Mapping[str, Any] = START, number: int = 1
) -> NDArray[Any]:
    """Run a round in which both sites move as they do from START."""
    configure(strategy, start, number)
    moved = [np.array(s["a"]) - START["a"] + np.array(start["a"]) for s in SITES]
    replies = [
        reply({"a": a}, share, loss, steps)
        for a, share, loss, steps in zip(moved, SHARES, LOSSES, STEPS, strict=True)
    ]
    return aggregate(strategy, replies, number)["a"]


@pytest.mark.parametrize("name", AT_THE_SITE)
def test_what_is_done_at_the_site_is_averaged_by_share(name: str) -> None:
    np.testing.assert_allclose(one_round(make_strategy(name, "")), MEAN, rtol=1e-6)


def test_momentum_goes_on_from_round_to_round() -> None:
    strategy = make_strategy("fedavgm", "server_lr=0.5 server_momentum=0.5")
    first = one_round(strategy)
    np.testing.assert_allclose(first, [2.0, 1.5], rtol=1e-6)
    # Momentum 0.5 * change + change = 1.5 * change; half of it is taken.
    np.testing.assert_allclose(one_round(strategy, {"a": first}, 2), [3.5, 0.75], rtol=1e-6)


def test_fedadam_takes_adams_step() -> None:
    strategy = make_strategy("fedadam", "eta=0.1 beta_1=0.5 beta_2=0.75 tau=0.5")
    # m = change / 2; v = change^2 / 4, its root |change| / 2; Flower's exponent is 2 in round 1.
    rate = 0.1 * np.sqrt(1 - 0.75**2) / (1 - 0.5**2)
    expected = [1.0 + rate * 1.0 / 1.5, 2.0 - rate * 0.5 / 1.0]
    np.testing.assert_allclose(one_round(strategy), expected, rtol=1e-6)


def test_fedyogi_takes_yogis_step() -> None:
    strategy = make_strategy("fedyogi", "eta=0.1 beta_1=0.5 beta_2=0.75 tau=0.5")
    # From v = 0, v - (1 - beta_2) change^2 sign(v - change^2) = change^2 / 4.
    expected = [1.0 + 0.1 * 1.0 / 1.5, 2.0 - 0.1 * 0.5 / 1.0]
    first = one_round(strategy)
    np.testing.assert_allclose(first, expected, rtol=1e-6)
    # Then v = change^2 / 2 and m = 0.75 change.
    root = np.abs(CHANGE) / np.sqrt(2)
    second = first + 0.1 * 0.75 * np.array(CHANGE) / (root + 0.5)
    np.testing.assert_allclose(one_round(strategy, {"a": first}, 2), second, rtol=1e-5)


def test_fedadagrad_sums_squares() -> None:
    strategy = make_strategy("fedadagrad", "eta=0.1 tau=0.5")
    first = one_round(strategy)
    np.testing.assert_allclose(first, [1.0 + 0.1 * 2 / 2.5, 2.0 - 0.1 / 1.5], rtol=1e-6)
    root = np.sqrt(2) * np.abs(CHANGE)
    second = first + 0.1 * np.array(CHANGE) / (root + 0.5)
    np.testing.assert_allclose(one_round(strategy, {"a": first}, 2), second, rtol=1e-5)


def test_qfedavg_gives_a_larger_loss_more_weight() -> None:
    strategy = make_strategy("qfedavg", "q=1 lipschitz_lr=0.5")
    # L = 2. Gradients L (w - w_i): (2, -4) and (-6, 4); times F: (8, -16) and (-6, 4).
    # h_i = q F^(q-1) |gradient|^2 + L F^q: 20 + 8 and 52 + 2.
    expected = np.array([1.0, 2.0]) - np.array([2.0, -12.0]) / 82.0
    np.testing.assert_allclose(one_round(strategy), expected, rtol=1e-6)


def test_qfedavg_of_power_0_is_the_plain_mean() -> None:
    strategy = make_strategy("qfedavg", "q=0")
    np.testing.assert_allclose(one_round(strategy), [2.0, 2.0], rtol=1e-6)


@pytest.mark.parametrize(("name", "expected"), [("trimmed-mean", 2.5), ("median", 2.5)])
def test_extremes_do_not_count(name: str, expected: float) -> None:
    strategy = make_strategy(name, "")
    np.testing.assert_allclose(one_round(make_strategy(name, "")), [2.0, 2.0], rtol=1e-6)
    configure(strategy, {"a": [0.0]})
    replies = [reply({"a": [value]}, 0.25) for value in (1e6, 2.0, 3.0, -1e6)]
    np.testing.assert_allclose(aggregate(strategy, replies)["a"], [expected])


def test_scaffold_adds_the_mean_change_of_control_variates() -> None:
    strategy = make_strategy("scaffold", "")
    assert configure(strategy, START)["control|a"].tolist() == [0.0, 0.0]
    replies = [
        reply({**SITES[0], "control|a": [1.0, 0.0]}, SHARES[0]),
        reply({**SITES[1], "control|a": [0.0, 2.0]}, SHARES[1]),
    ]
    found = aggregate(strategy, replies)
    assert found.keys() == {"a"}
    np.testing.assert_allclose(found["a"], MEAN, rtol=1e-6)
    assert configure(strategy, found)["control|a"].tolist() == [0.25, 1.5]


def test_scaffolds_variate_moves_by_the_share_of_sites_that_answered() -> None:
    strategy = make_strategy("scaffold", "")
    configure(strategy, START)
    aggregate(strategy, [reply({**SITES[0], "control|a": [1.0, 4.0]}, SHARES[0])])
    assert strategy.state()["control"]["a"].tolist() == [0.25, 1.0]


def test_shared_moments_are_means_by_share_that_the_next_round_starts_from() -> None:
    strategy = make_strategy("shared-moments", "")
    sent = configure(strategy, START)
    assert sent["exp_avg|a"].tolist() == sent["exp_avg_sq|a"].tolist() == [0.0, 0.0]
    replies = [
        reply({**SITES[0], "exp_avg|a": [4.0, -8.0], "exp_avg_sq|a": [1.0, 0.0]}, SHARES[0]),
        reply({**SITES[1], "exp_avg|a": [0.0, 4.0], "exp_avg_sq|a": [2.0, 4.0]}, SHARES[1]),
    ]
    found = aggregate(strategy, replies)
    assert found.keys() == {"a"}
    np.testing.assert_allclose(found["a"], MEAN, rtol=1e-6)
    sent = configure(strategy, found)
    np.testing.assert_allclose(sent["exp_avg|a"], [1.0, 1.0])
    np.testing.assert_allclose(sent["exp_avg_sq|a"], [1.75, 3.0])


def test_fednova_normalises_changes_by_steps() -> None:
    # tau_eff = 0.25 * 2 + 0.75 * 4 = 3.5; sum of p_i change_i / tau_i = (-1/8 + 9/16, 1/4 - 3/8).
    expected = [1.0 + 3.5 * 0.4375, 2.0 - 3.5 * 0.125]
    np.testing.assert_allclose(one_round(make_strategy("fednova", "")), expected, rtol=1e-6)


def test_krum_takes_the_reply_nearest_to_the_others() -> None:
    strategy = make_strategy("krum", "")
    configure(strategy, {"a": [0.0, 0.0]})
    replies = [reply({"a": a}, 0.3) for a in ([1.0, 1.0], [1.1, 1.0], [9.0, 9.0])]
    assert aggregate(strategy, replies)["a"].tolist() != [9.0, 9.0]


def test_krum_sees_small_changes_of_large_weights() -> None:
    """Distances from float32 norms of whole weights, as Flower takes them, are noise here."""
    rng = np.random.default_rng(0)
    start = rng.normal(scale=30.0, size=2000).astype(np.float32)
    wild = (start + rng.normal(scale=0.02, size=2000)).astype(np.float32)
    near = [(start + rng.normal(scale=1e-3, size=2000)).astype(np.float32) for _ in range(5)]
    values = [wild, *near]
    distance = [[np.square(a - b.astype(np.float64)).sum() for b in values] for a in values]
    # Of six sites, one hostile: the three nearest others.
    best = int(np.argmin([np.sort(row)[1:4].sum() for row in distance]))

    def chosen(strategy: Krum) -> int:
        strategy.configure_train(1, record({"a": start}), ConfigRecord(), cast(Grid, Nodes()))
        arrays, _ = strategy.aggregate_train(1, [reply({"a": a}, 0.2) for a in values])
        assert arrays is not None
        return next(i for i, a in enumerate(values) if np.array_equal(arrays["a"].numpy(), a))

    assert chosen(cast(Krum, make_strategy("krum", "hostile=1"))) == best
    assert chosen(Krum(num_malicious_nodes=1)) != best


def test_krum_refuses_more_hostile_sites_than_it_can_bear() -> None:
    strategy = make_strategy("krum", "hostile=1")
    configure(strategy, START)
    with pytest.raises(RoundError, match="5 are needed against 1"):
        strategy.aggregate_train(1, [reply(SITES[0], 0.25) for _ in range(4)])


def _replies(name: str, number: int) -> list[Message]:
    rng = np.random.default_rng(number)
    beside = {f"{one}|{n}" for one in STRATEGIES[name].companions for n in ("a", "b")}
    return [
        reply({n: rng.normal(size=3) for n in ("a", "b", *sorted(beside))}, share, 0.5 + i, 3 + i)
        for i, share in enumerate((0.2, 0.5, 0.3))
    ]


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_restored_strategy_goes_on_bit_for_bit(name: str) -> None:
    kept, arrays = make_strategy(name, ""), {"a": np.ones(3), "b": np.zeros(3)}
    for number in (1, 2):
        configure(kept, arrays, number)
        arrays = aggregate(kept, _replies(name, number), number)
    state = kept.state()
    restored = make_strategy(name, "")
    restored.restore(state)
    assert configure(kept, arrays, 3).keys() == configure(restored, arrays, 3).keys()
    after = [aggregate(one, _replies(name, 3), 3) for one in (kept, restored)]
    for one in ("a", "b"):
        np.testing.assert_array_equal(after[0][one], after[1][one])
    # What was given is a copy, and both states are the same now.
    again = restored.state()
    for group, of_group in kept.state().items():
        for one, array in of_group.items():
            np.testing.assert_array_equal(array, again[group][one])
            assert not np.array_equal(array, state[group][one])


def test_strategies_that_remember_have_a_state() -> None:
    remembers = set()
    for name in STRATEGIES:
        strategy = make_strategy(name, "")
        assert strategy.state() == {}
        configure(strategy, {"a": np.ones(3), "b": np.ones(3)})
        aggregate(strategy, _replies(name, 1))
        if strategy.state():
            remembers.add(name)
    assert remembers == {
        *("fedavgm", "fedadam", "fedyogi", "fedadagrad"),
        *("scaffold", "shared-moments"),
    }


@pytest.mark.parametrize("name", STRATEGIES)
def test_flower_has_nothing_to_warn_of(name: str, caplog: pytest.LogCaptureFixture) -> None:
    random.seed(0)
    flower = logging.getLogger("flwr")
    flower.addHandler(caplog.handler)
    try:
        make_strategy(name, "mu=0" if name == "fedprox" else "")
    finally:
        flower.removeHandler(caplog.handler)
    assert [line for line in caplog.records if line.levelno >= logging.WARNING] == []


def test_an_unknown_strategy_is_told_with_those_that_there_are() -> None:
    with pytest.raises(SettingsError, match="fedsgd.*choose one of: fedavg, "):
        make_strategy("fedsgd", "")
