"""Messages out, replies in."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import pytest
from flwr.app import ConfigRecord, Error, Message, RecordDict

from common.errors import ContributionError
from server.collect import Asked, collect

if TYPE_CHECKING:
    from tests.server.conftest import Clock, FakeGrid

NODES = (11, 5, 8, 2, 30)
NEVER = float("inf")


def _messages(nodes: tuple[int, ...] = NODES) -> Iterator[Message]:
    return (Message(RecordDict(), node, "query.join") for node in nodes)


def _reply(message: Message, said: int) -> Message:
    return Message(RecordDict({"config": ConfigRecord({"said": said})}), reply_to=message)


def _said(asked: Asked) -> object:
    record = asked.content()["config"]
    assert isinstance(record, ConfigRecord)
    return record["said"]


def _own_id(message: Message) -> Message:
    return _reply(message, message.metadata.dst_node_id)


@pytest.fixture
def grid(grid_of: Callable[[Mapping[int, Callable[[Message], Message]]], FakeGrid]) -> FakeGrid:
    """Nodes that answer with their own number."""
    return grid_of(dict.fromkeys(NODES, _own_id))


@pytest.mark.parametrize("arrival", list(itertools.permutations(range(5)))[::17])
@pytest.mark.parametrize("window", [1, 2, 5, 16])
def test_replies_come_in_the_order_asked_whatever_arrives_first(
    grid: FakeGrid, arrival: tuple[int, ...], window: int
) -> None:
    grid.delay = {node: float(rank) for node, rank in zip(NODES, arrival, strict=True)}
    replies = list(collect(grid, _messages(), window=window, deadline=100.0))
    assert [asked.node_id for asked in replies] == list(NODES)
    assert [_said(asked) for asked in replies] == list(NODES)


@pytest.mark.parametrize("window", [1, 2, 3])
def test_no_more_messages_than_the_window_are_made_before_one_is_yielded(
    grid: FakeGrid, window: int
) -> None:
    # The first answers last, so that all others would pile up behind it.
    grid.delay = {NODES[0]: 50.0}
    made, outstanding = 0, []
    yielded = 0

    def counted() -> Iterator[Message]:
        nonlocal made
        for message in _messages():
            made += 1
            outstanding.append(made - yielded)
            yield message

    for _ in collect(grid, counted(), window=window, deadline=100.0):
        yielded += 1
    assert (yielded, max(outstanding)) == (5, window)


def test_a_silent_node_is_given_up_at_the_deadline_and_the_others_are_returned(
    grid: FakeGrid, clock: Clock
) -> None:
    grid.delay = {5: NEVER, 30: 3.0}
    replies = list(collect(grid, _messages(), window=16, deadline=60.0))
    assert [asked.problem for asked in replies] == ["", "no reply within 60 s", "", "", ""]
    assert [_said(asked) for asked in replies if not asked.problem] == [11, 8, 2, 30]
    assert 60.0 <= clock.now < 62.0


def test_a_silent_node_that_fills_the_window_costs_no_other_its_turn(grid: FakeGrid) -> None:
    grid.delay = {11: NEVER, 8: 2.0, 2: 2.0, 30: 2.0}
    replies = list(collect(grid, _messages(), window=2, deadline=60.0))
    assert [asked.node_id for asked in replies if asked.problem] == [11]
    assert [_said(asked) for asked in replies if not asked.problem] == [5, 8, 2, 30]


def test_asking_a_silent_node_does_not_hammer_the_coordinator(
    grid: FakeGrid, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    pulls: list[float] = []

    def nothing(_ids: list[str]) -> list[Message]:
        pulls.append(clock.now)
        return []

    monkeypatch.setattr(grid, "pull_messages", nothing)
    list(collect(grid, _messages((5,)), window=1, deadline=600.0))
    assert len(pulls) < 650


def test_an_error_reply_is_a_problem_with_its_code_and_reason(grid: FakeGrid) -> None:
    grid.answers[8] = lambda message: Message(Error(100, "CohortError"), reply_to=message)
    grid.answers[2] = lambda message: Message(Error(5), reply_to=message)
    replies = {a.node_id: a for a in collect(grid, _messages(), window=16, deadline=60.0)}
    assert replies[8].problem == "error 100: CohortError"
    assert replies[2].problem == "error 5: no reason given"
    with pytest.raises(ContributionError, match="error 100: CohortError"):
        replies[8].content()
    assert [_said(replies[node]) for node in (11, 5, 30)] == [11, 5, 30]


def test_a_reply_from_another_node_is_refused(grid: FakeGrid) -> None:
    def forged(message: Message, right: Message) -> list[Message]:
        right.metadata.__dict__["_src_node_id"] = 30
        return [right]

    grid.tamper[5] = forged
    replies = {a.node_id: a for a in collect(grid, _messages(), window=16, deadline=60.0)}
    assert replies[5].problem == "answered by another node (30)"
    assert replies[5].reply is None
    assert _said(replies[30]) == 30


def test_the_first_of_two_replies_counts(grid: FakeGrid) -> None:
    grid.tamper[5] = lambda message, right: [right, _reply(message, 666)]
    grid.tamper[8] = lambda message, right: [right, Message(Error(1, "late"), reply_to=message)]
    replies = list(collect(grid, _messages(), window=16, deadline=60.0))
    assert [_said(asked) for asked in replies] == list(NODES)


def test_a_reply_that_nobody_asked_for_is_ignored(grid: FakeGrid) -> None:
    def with_stranger(message: Message, right: Message) -> list[Message]:
        stranger = _reply(message, 666)
        stranger.metadata.__dict__["_reply_to_message_id"] = "message 1000"
        return [stranger, right]

    grid.tamper = dict.fromkeys(NODES, with_stranger)
    replies = list(collect(grid, _messages(), window=16, deadline=60.0))
    assert [_said(asked) for asked in replies] == list(NODES)


def test_only_strangers_replies_do_not_keep_a_round_alive(grid: FakeGrid, clock: Clock) -> None:
    def stranger(message: Message, right: Message) -> list[Message]:
        right.metadata.__dict__["_reply_to_message_id"] = ""
        return [right]

    grid.tamper = dict.fromkeys(NODES, stranger)
    replies = list(collect(grid, _messages(), window=16, deadline=60.0))
    assert {asked.problem for asked in replies} == {"no reply within 60 s"}
    assert clock.now < 62.0


def test_a_late_reply_to_an_earlier_round_is_not_taken_for_this_one(grid: FakeGrid) -> None:
    grid.delay = {5: 90.0}
    grid.answers[5] = lambda message: _reply(message, 666)
    first = list(collect(grid, _messages(), window=16, deadline=60.0))
    assert first[1].problem == "no reply within 60 s"
    grid.answers[5] = _own_id
    second = list(collect(grid, _messages(), window=16, deadline=100.0))
    assert [_said(asked) for asked in second] == list(NODES)


@pytest.mark.parametrize("outcome", [[], [""], [None]])
def test_a_message_that_cannot_be_sent_is_a_problem_at_once(
    grid: FakeGrid, clock: Clock, outcome: list[str]
) -> None:
    grid.unsendable[8] = outcome
    replies = list(collect(grid, _messages(), window=2, deadline=60.0))
    assert [a.problem for a in replies] == ["", "", "the message could not be sent", "", ""]
    assert clock.now < 1.0


def test_nobody_asked_is_nobody_yielded(grid: FakeGrid) -> None:
    assert list(collect(grid, iter(()), window=4, deadline=60.0)) == []
