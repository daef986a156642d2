"""A site that is lost in mid-round is asked again once it is back; one that refuses is not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import pytest
from flwr.app import ConfigRecord, Error, Message, RecordDict
from flwr.common.constant import ErrorCode

from common import wire
from common.learners import make_learner
from common.learners.base import Problem
from server.collect import Asked, collect
from server.sum_strategy import SumStrategy

if TYPE_CHECKING:
    from tests.server.conftest import Clock, FakeGrid, Hospitals

NODES = (11, 5, 8)
LOST = {
    "node": ErrorCode.NODE_UNAVAILABLE,
    "message": ErrorCode.MESSAGE_UNAVAILABLE,
    "reply": ErrorCode.REPLY_MESSAGE_UNAVAILABLE,
    "crash": ErrorCode.CLIENT_APP_CRASHED,
}
DEADLINE = 60.0
GridOf = Callable[[Mapping[int, Callable[[Message], Message]]], "FakeGrid"]


def _answer(message: Message) -> Message:
    record = message.content["config"]
    assert isinstance(record, ConfigRecord)
    said = ConfigRecord({"said": message.metadata.dst_node_id, "asked": record["asked"]})
    return Message(RecordDict({"config": said}), reply_to=message)


def _asking(node: int) -> RecordDict:
    return RecordDict({"config": ConfigRecord({"asked": node})})


def _ask(grid: FakeGrid, retries: int, **named: Any) -> list[Asked]:
    messages = (
        Message(_asking(node), node, "train.contribute", group_id="4", ttl=660.0) for node in NODES
    )
    about = {"window": 16, "deadline": DEADLINE, **named}
    return list(collect(grid, messages, retries=retries, **about))


def _said(asked: Asked) -> object:
    record = asked.content()["config"]
    assert isinstance(record, ConfigRecord)
    return record["said"], record["asked"]


def _loses(times: int, code: int = ErrorCode.NODE_UNAVAILABLE) -> Any:
    """In the place of a node's first replies, Flower's word that there are none."""
    left = times

    def tamper(message: Message, right: Message) -> list[Message]:
        nonlocal left
        left -= 1
        return [right if left < 0 else Message(Error(code, "gone"), reply_to=message)]

    return tamper


@pytest.fixture
def grid(grid_of: GridOf) -> FakeGrid:
    return grid_of(dict.fromkeys(NODES, _answer))


@pytest.fixture
def away(grid: FakeGrid, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> dict[int, float]:
    """When a node that is away is listed again; a message to it before that is lost, too."""
    back: dict[int, float] = {}
    monkeypatch.setattr(
        grid, "get_node_ids", lambda: [node for node in NODES if clock.now >= back.get(node, 0.0)]
    )
    return back


def _times_asked(grid: FakeGrid, node: int) -> int:
    return len(grid.kinds_asked(node))


@pytest.mark.parametrize("code", LOST.values(), ids=LOST)
@pytest.mark.parametrize("window", [1, 16])
def test_a_lost_node_is_asked_the_same_again_and_the_order_stays(
    grid: FakeGrid, code: int, window: int
) -> None:
    grid.tamper[5] = _loses(1, code)
    replies = _ask(grid, retries=2, window=window)
    assert [asked.node_id for asked in replies] == list(NODES)
    assert [_said(asked) for asked in replies] == [(node, node) for node in NODES]
    assert [asked.again for asked in replies] == [0, 1, 0]
    first, again = (one for one in grid.asked if one.metadata.dst_node_id == 5)
    for name in ("message_type", "group_id", "ttl"):
        assert getattr(first.metadata, name) == getattr(again.metadata, name), name
    assert first.metadata.message_id != again.metadata.message_id


@pytest.mark.parametrize("code", LOST.values(), ids=LOST)
def test_without_retries_a_loss_is_a_problem_at_once(
    grid: FakeGrid, clock: Clock, code: int
) -> None:
    grid.tamper[5] = _loses(1, code)
    replies = _ask(grid, retries=0)
    assert [asked.problem for asked in replies] == ["", f"error {code}: gone", ""]
    assert _times_asked(grid, 5) == 1
    assert clock.now < 1.0


@pytest.mark.parametrize("retries", [1, 2, 5])
def test_a_node_is_asked_again_no_more_often_than_retries(grid: FakeGrid, retries: int) -> None:
    grid.tamper[5] = _loses(1000)
    grid.tamper[8] = _loses(retries)
    replies = _ask(grid, retries=retries)
    assert [bool(asked.problem) for asked in replies] == [False, True, False]
    assert replies[1].problem == f"error {ErrorCode.NODE_UNAVAILABLE}: gone"
    assert _times_asked(grid, 5) == 1 + retries
    assert _times_asked(grid, 8) == 1 + retries


def test_a_node_is_asked_again_only_once_it_is_back(
    grid: FakeGrid, away: dict[int, float], clock: Clock
) -> None:
    away[5] = 20.0
    grid.tamper[5] = _loses(1)
    replies = _ask(grid, retries=1)
    assert [_said(asked) for asked in replies] == [(node, node) for node in NODES]
    assert _times_asked(grid, 5) == 2
    assert 20.0 <= clock.now < 22.0


def test_a_node_that_stays_away_is_given_up_at_the_first_deadline_saying_why(
    grid: FakeGrid, away: dict[int, float], clock: Clock
) -> None:
    away[5] = float("inf")
    grid.tamper[5] = _loses(1)
    replies = _ask(grid, retries=100)
    lost = f"error {ErrorCode.NODE_UNAVAILABLE}: gone"
    assert replies[1].problem == f"no reply within 60 s; {lost}"
    assert _times_asked(grid, 5) == 1
    assert DEADLINE <= clock.now < DEADLINE + 2.0


def test_asking_again_does_not_move_the_deadline(
    grid: FakeGrid, away: dict[int, float], clock: Clock
) -> None:
    away[5] = 50.0
    grid.tamper[5] = _loses(1)
    answer = grid.answers[5]

    def slow(message: Message) -> Message:
        # From the second message on, the reply takes 30 seconds.
        grid.delay[5] = 30.0
        return answer(message)

    grid.answers[5] = slow
    replies = _ask(grid, retries=3)
    assert replies[1].problem.startswith("no reply within 60 s")
    assert _times_asked(grid, 5) == 2
    assert DEADLINE <= clock.now < DEADLINE + 2.0


def test_a_late_reply_to_the_earlier_message_is_not_taken(
    grid: FakeGrid, away: dict[int, float], clock: Clock
) -> None:
    away[5] = 5.0
    lost = _loses(1)
    earlier: list[Message] = []

    def tamper(message: Message, right: Message) -> list[Message]:
        if earlier:
            return [right]
        record = right.content["config"]
        assert isinstance(record, ConfigRecord)
        record["said"] = 666
        earlier.append(right)
        return list(lost(message, right))

    grid.tamper[5] = tamper
    pull = grid.pull_messages

    def pull_with_ghosts(message_ids: Any) -> list[Message]:
        # The reply that was held for lost turns up while the node is away, and after it is back.
        late = earlier if clock.now > 1.0 else []
        return [*late, *pull(message_ids)]

    grid.pull_messages = pull_with_ghosts  # type: ignore[method-assign]
    grid.delay[11] = 10.0
    replies = _ask(grid, retries=2)
    assert earlier
    assert [_said(asked) for asked in replies] == [(node, node) for node in NODES]


def test_a_reply_to_a_message_that_is_told_lost_is_not_taken_even_if_both_arrive_at_once(
    grid: FakeGrid,
) -> None:
    lost = _loses(1)
    grid.tamper[5] = lambda message, right: [*lost(message, right), right]
    replies = _ask(grid, retries=1)
    assert [_said(asked) for asked in replies] == [(node, node) for node in NODES]
    assert _times_asked(grid, 5) == 2


@pytest.mark.parametrize("code", [100, 2, ErrorCode.UNKNOWN, ErrorCode.INVALID_FAB])
def test_a_sites_own_refusal_is_not_asked_again(grid: FakeGrid, clock: Clock, code: int) -> None:
    assert code not in LOST.values()
    grid.tamper[5] = _loses(1, code)
    replies = _ask(grid, retries=5)
    assert [asked.problem for asked in replies] == ["", f"error {code}: gone", ""]
    assert _times_asked(grid, 5) == 1
    assert clock.now < 1.0


def test_a_message_that_cannot_be_sent_again_is_a_problem(grid: FakeGrid) -> None:
    def tamper(message: Message, right: Message) -> list[Message]:
        grid.unsendable[5] = []
        return [Message(Error(ErrorCode.NODE_UNAVAILABLE, "gone"), reply_to=message)]

    grid.tamper[5] = tamper
    replies = _ask(grid, retries=2)
    assert replies[1].problem == "the message could not be sent"


def test_waiting_for_a_lost_node_does_not_hammer_the_coordinator(
    grid: FakeGrid, away: dict[int, float], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    away.update(dict.fromkeys(NODES, float("inf")))
    grid.tamper = {node: _loses(1) for node in NODES}
    listed, looks = grid.get_node_ids, 0

    def counted() -> Any:
        nonlocal looks
        looks += 1
        return listed()

    monkeypatch.setattr(grid, "get_node_ids", counted)
    _ask(grid, retries=1)
    assert looks < 150


def test_who_comes_and_goes_while_it_is_waited_for_is_told_once(
    grid: FakeGrid, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listed() -> list[int]:
        return [node for node in NODES if node != 5 or not 10.0 <= clock.now < 30.0]

    monkeypatch.setattr(grid, "get_node_ids", listed)
    grid.delay[5] = 40.0
    told: list[tuple[int, bool, float]] = []
    replies = _ask(grid, 0, notice=lambda node, there: told.append((node, there, clock.now)))
    assert [_said(asked) for asked in replies] == [(node, node) for node in NODES]
    assert [(node, there) for node, there, _ in told] == [(5, False), (5, True)]
    gone, back = (when for _, _, when in told)
    assert 10.0 <= gone < 17.0
    assert 30.0 <= back < 37.0


def _fit(strategy: SumStrategy, hospitals: Hospitals) -> dict[str, bytes]:
    site = next(iter(hospitals.sites.values()))
    sites = strategy.join(0, site.backbone.fingerprint, split_seed=1)
    problem = Problem(site.classes, site.backbone.dimension)
    state, _ = strategy.fit(make_learner("ridge", problem, "calibrate=none"), sites)
    return {name: array.tobytes() for name, array in state.arrays.items()}


def test_a_site_lost_and_found_changes_no_bit_and_its_second_message_is_weighed(
    hospitals: Hospitals, strategy_of: Callable[..., SumStrategy], reports: list[str]
) -> None:
    calm = strategy_of(hospitals.grid(learner_settings="calibrate=none"))
    expected = _fit(calm, hospitals)
    assert reports == []
    grid = hospitals.grid(learner_settings="calibrate=none")
    asked_of_9: list[Message] = []
    lost = _loses(1)

    def tamper(message: Message, right: Message) -> list[Message]:
        asked_of_9.append(message)
        # Who it is (1), its moments (2), and, lost at first, its Gram matrix (3).
        return list(lost(message, right)) if len(asked_of_9) == 3 else [right]

    grid.tamper[9] = tamper
    strategy = strategy_of(grid)
    assert _fit(strategy, hospitals) == expected
    assert strategy.left_out == {}
    assert any("molemax" in line and "again" in line for line in reports)
    assert strategy.traffic.rounds == calm.traffic.rounds
    assert strategy.traffic.bytes_up == calm.traffic.bytes_up
    again = wire.count_bytes(asked_of_9[2].content)
    assert strategy.traffic.bytes_down == calm.traffic.bytes_down + again
