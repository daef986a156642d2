"""Rounds of sums: exact, independent of arrival, and never below the quorum unnoticed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import confusion_matrix
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from common import wire
from common.errors import RoundError
from common.learners import make_learner
from common.learners.base import Learner, Problem, State
from common.settings import RunSettings
from common.split import Split
from server.sum_strategy import SumStrategy

if TYPE_CHECKING:
    from flwr.app import Message
    from numpy.typing import NDArray

    from common.site_info import SiteInfo
    from tests.server.conftest import FakeGrid, Hospitals

NEVER = float("inf")
ALPHA = 0.3
# What the run's settings, by which sites answer, have.
DRAWS = RunSettings().draws
# Two rounds; a third kind, the calibration, is tested in test_federation.py.
SETTINGS = f"alpha_per_image={ALPHA} calibrate=none"
StrategyOf = Callable[..., SumStrategy]


def _learner(hospitals: Hospitals) -> Learner:
    site = next(iter(hospitals.sites.values()))
    return make_learner("ridge", Problem(site.classes, site.backbone.dimension), SETTINGS)


def _join(strategy: SumStrategy, hospitals: Hospitals) -> dict[int, SiteInfo]:
    fingerprint = next(iter(hospitals.sites.values())).backbone.fingerprint
    return strategy.join(0, fingerprint, split_seed=1)


def _fit(strategy: SumStrategy, hospitals: Hospitals) -> tuple[State, dict[int, SiteInfo]]:
    return strategy.fit(_learner(hospitals), _join(strategy, hospitals))


def _grid(hospitals: Hospitals, **settings: Any) -> FakeGrid:
    return hospitals.grid(learner_settings=SETTINGS, **settings)


def _pooled_fit(x: NDArray[np.float64], y: NDArray[np.intp]) -> Pipeline:
    ridge = RidgeClassifier(alpha=ALPHA * len(y), class_weight="balanced")
    return make_pipeline(StandardScaler(), ridge).fit(x, y)


def _assert_is_pooled_fit(state: State, hospitals: Hospitals, without: tuple[str, ...]) -> None:
    x, y = hospitals.pooled(Split.TRAIN, without)
    reference = _pooled_fit(x, y)
    np.testing.assert_allclose(state.arrays["coef"], reference[-1].coef_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(state.arrays["intercept"], reference[-1].intercept_, rtol=1e-9)
    np.testing.assert_allclose(state.arrays["mean"], reference[0].mean_, rtol=1e-12)
    assert state.arrays["class_count"].tolist() == np.bincount(y).tolist()


def _only_in(stage: int, tamper: Callable[[Message], list[Message]]) -> Any:
    """Tamper with the n-th reply to a question about training, and with no other."""
    seen = 0

    def tampered(message: Message, right: Message) -> list[Message]:
        nonlocal seen
        if message.metadata.message_type != wire.CONTRIBUTE:
            return [right]
        seen += 1
        return tamper(right) if seen == stage else [right]

    return tampered


def _lost(_right: Message) -> list[Message]:
    return []


def test_the_federation_of_sites_is_the_pooled_fit(
    hospitals: Hospitals, strategy_of: StrategyOf
) -> None:
    state, members = _fit(strategy_of(_grid(hospitals)), hospitals)
    assert [info.site for info in members.values()] == ["dias", "modern", "molemax", "rosendahl"]
    _assert_is_pooled_fit(state, hospitals, without=())


@pytest.mark.parametrize("window", [1, 3, 16])
@pytest.mark.parametrize("order", [(7, 3, 9, 5), (5, 9, 3, 7), (9, 7, 5, 3)])
def test_which_site_answers_first_changes_no_bit_of_the_model(
    hospitals: Hospitals, strategy_of: StrategyOf, order: tuple[int, ...], window: int
) -> None:
    at_once, _ = _fit(strategy_of(_grid(hospitals)), hospitals)
    grid = _grid(hospitals)
    grid.delay = {node: float(rank) for rank, node in enumerate(order)}
    delayed, _ = _fit(strategy_of(grid, window=window), hospitals)
    for name, array in at_once.arrays.items():
        assert array.tobytes() == delayed.arrays[name].tobytes(), name


def test_the_numbering_of_nodes_changes_no_bit_of_the_model(
    hospitals: Hospitals, strategy_of: StrategyOf
) -> None:
    before, _ = _fit(strategy_of(_grid(hospitals)), hospitals)
    hospitals.sites = {100 - node: site for node, site in hospitals.sites.items()}
    after, _ = _fit(strategy_of(_grid(hospitals)), hospitals)
    for name, array in before.arrays.items():
        assert array.tobytes() == after.arrays[name].tobytes(), name


def test_evaluation_adds_up_to_what_scikit_learn_counts_on_the_pooled_test_images(
    hospitals: Hospitals, strategy_of: StrategyOf
) -> None:
    strategy = strategy_of(_grid(hospitals))
    state, members = _fit(strategy, hospitals)
    results = strategy.evaluate(state, members, DRAWS)
    assert list(results) == ["dias", "modern", "molemax", "rosendahl"]
    reference = _pooled_fit(*hospitals.pooled(Split.TRAIN))
    x, y = hospitals.pooled(Split.TEST)
    summed = sum(sums.arrays["confusion"] for sums in results.values())
    assert np.array_equal(summed, confusion_matrix(y, reference.predict(x)))
    assert sum(sums.count for sums in results.values()) == len(y)


def test_every_site_must_answer_unless_a_quorum_is_set(
    hospitals: Hospitals, strategy_of: StrategyOf
) -> None:
    grid = _grid(hospitals)
    grid.tamper[9] = _only_in(1, _lost)
    with pytest.raises(RoundError, match=r"3 of 4 sites count, 4 are needed.*molemax: no reply"):
        _fit(strategy_of(grid), hospitals)


def test_a_round_below_the_quorum_names_each_site_with_its_reason(
    hospitals: Hospitals, strategy_of: StrategyOf, reports: list[str]
) -> None:
    grid = _grid(hospitals)
    grid.tamper[9] = _only_in(1, _lost)
    grid.tamper[5] = _only_in(
        1, lambda right: [wire.error_reply("ImageError", "abc", _asker(grid, right))]
    )
    strategy = strategy_of(grid, quorum=3)
    with pytest.raises(RoundError) as caught:
        _fit(strategy, hospitals)
    text = str(caught.value)
    assert "train.contribute: 2 of 4 sites count, 3 are needed" in text
    assert "molemax: no reply within 600 s" in text
    assert "rosendahl: error 100: ImageError (the site's log says more under abc)" in text
    assert "dias" not in text
    assert "modern" not in text
    assert strategy.left_out.keys() == {"molemax", "rosendahl"}
    assert len(reports) == 2


def _asker(grid: FakeGrid, reply: Message) -> Message:
    wanted = reply.metadata.reply_to_message_id
    return next(m for m in grid.asked if m.metadata.message_id == wanted)


def test_a_site_lost_in_the_first_round_is_left_out_and_not_asked_again(
    hospitals: Hospitals, strategy_of: StrategyOf
) -> None:
    grid = _grid(hospitals)
    grid.tamper[9] = _only_in(1, _lost)
    strategy = strategy_of(grid, quorum=3)
    state, members = _fit(strategy, hospitals)
    assert [info.site for info in members.values()] == ["dias", "modern", "rosendahl"]
    assert grid.kinds_asked(9) == [wire.JOIN, wire.CONTRIBUTE]
    assert strategy.traffic.rounds == 2
    assert strategy.left_out == {"molemax": "no reply within 600 s"}
    _assert_is_pooled_fit(state, hospitals, without=("molemax",))


def test_a_site_lost_in_the_second_round_leaves_no_trace_in_the_model(
    hospitals: Hospitals, strategy_of: StrategyOf, reports: list[str]
) -> None:
    grid = _grid(hospitals)
    grid.tamper[9] = _only_in(2, _lost)
    strategy = strategy_of(grid, quorum=3)
    state, members = _fit(strategy, hospitals)
    assert [info.site for info in members.values()] == ["dias", "modern", "rosendahl"]
    assert grid.kinds_asked(7) == [wire.JOIN, *[wire.CONTRIBUTE] * 4]
    assert strategy.traffic.rounds == 4
    assert strategy.traffic.stages == {"moments": 2, "gram": 2}
    assert any("starting again" in line for line in reports)
    _assert_is_pooled_fit(state, hospitals, without=("molemax",))
    del hospitals.sites[9]
    never_there, _ = _fit(strategy_of(_grid(hospitals)), hospitals)
    for name, array in never_there.arrays.items():
        assert array.tobytes() == state.arrays[name].tobytes(), name


def test_sites_lost_one_after_the_other_end_the_run_once_the_quorum_is_missed(
    hospitals: Hospitals, strategy_of: StrategyOf
) -> None:
    grid = _grid(hospitals)
    grid.tamper = {9: _only_in(2, _lost), 3: _only_in(3, _lost)}
    with pytest.raises(RoundError, match="2 of 4 sites count, 3 are needed") as caught:
        _fit(strategy_of(grid, quorum=3), hospitals)
    assert "modern: no reply" in str(caught.value)


def test_a_site_lost_in_evaluation_is_missing_and_named(
    hospitals: Hospitals, strategy_of: StrategyOf
) -> None:
    grid = _grid(hospitals)
    strategy = strategy_of(grid, quorum=3)
    state, members = _fit(strategy, hospitals)
    grid.delay[3] = NEVER
    results = strategy.evaluate(state, members, DRAWS)
    assert list(results) == ["dias", "molemax", "rosendahl"]
    assert strategy.left_out == {"modern": "no reply within 600 s"}
    strict = strategy_of(grid)
    with pytest.raises(RoundError, match=r"evaluate\.sums: 3 of 4 sites count"):
        strict.evaluate(state, members, DRAWS)


def test_a_site_without_training_images_changes_nothing_and_is_evaluated(
    hospitals: Hospitals, strategy_of: StrategyOf
) -> None:
    site = hospitals.sites[5]
    hospitals.replace(5, split=np.full(len(site.y), Split.TEST.value, dtype="<U10"))
    strategy = strategy_of(_grid(hospitals))
    state, members = _fit(strategy, hospitals)
    _assert_is_pooled_fit(state, hospitals, without=("rosendahl",))
    assert strategy.evaluate(state, members, DRAWS)["rosendahl"].count == len(site.y)


def test_sites_without_any_training_image_make_no_model(
    hospitals: Hospitals, strategy_of: StrategyOf
) -> None:
    for node, site in hospitals.sites.items():
        hospitals.replace(node, split=np.full(len(site.y), Split.TEST.value, dtype="<U10"))
    with pytest.raises(RoundError, match="no site has a training image"):
        _fit(strategy_of(_grid(hospitals)), hospitals)


def test_rounds_and_bytes_are_counted(hospitals: Hospitals, strategy_of: StrategyOf) -> None:
    strategy = strategy_of(_grid(hospitals))
    _fit(strategy, hospitals)
    # A site sends class counts of 3 int64, 8 sums and 8 squares; then a packed Gram matrix of
    # 9 rows, 45 elements, and 3 class sums of 9; each of 8 bytes.
    arrays_up = 4 * (3 + 8 + 8 + 45 + 27) * 8
    # Down: counts and weights of 3 classes, means and scales of 8 features.
    arrays_down = 4 * (3 + 3 + 8 + 8) * 8
    traffic = strategy.traffic
    assert traffic.rounds == 2
    assert traffic.stages == {"moments": 1, "gram": 1}
    # On top come NumPy headers of 128 bytes and names.
    assert arrays_up < traffic.bytes_up < arrays_up + 4 * (5 * 128 + 1000)
    assert arrays_down < traffic.bytes_down < arrays_down + 4 * (4 * 128 + 500)


def test_a_message_outlives_the_deadline_but_not_for_long(
    hospitals: Hospitals, strategy_of: StrategyOf
) -> None:
    grid = _grid(hospitals)
    _fit(strategy_of(grid, deadline=90.0), hospitals)
    assert {message.metadata.ttl for message in grid.asked} == {150.0}
