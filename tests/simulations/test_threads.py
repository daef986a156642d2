"""Work in threads: results in order, and an end at the first failure."""

from __future__ import annotations

from threading import Event

import pytest

import simulations.threads
from common.features import no_progress
from simulations.threads import each


def test_results_keep_the_order_of_the_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulations.threads, "cores", lambda: 2)
    second_done = Event()

    def work(item: int) -> int:
        if item == 0:
            assert second_done.wait(60)
        second_done.set()
        return item * item

    assert each(work, range(5), no_progress) == [0, 1, 4, 9, 16]


def test_progress_counts_every_item() -> None:
    told: list[tuple[int, int]] = []
    each(str, range(4), lambda *at: told.append(at))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_a_failure_ends_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulations.threads, "cores", lambda: 1)
    begun: list[int] = []
    failed = Event()

    def work(item: int) -> None:
        begun.append(item)
        if item == 1:
            failed.set()
            raise ValueError("no such image")
        if item == 2:
            # Leaves the failure time to be seen while much is still to be begun.
            assert failed.wait(60)

    with pytest.raises(ValueError, match="no such image"):
        each(work, range(10_000), no_progress)
    assert len(begun) < 10_000


def test_an_interruption_in_progress_ends_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulations.threads, "cores", lambda: 1)
    begun: list[int] = []
    told = Event()

    def work(item: int) -> None:
        begun.append(item)
        if item == 1:
            assert told.wait(60)

    def interrupt(_done: int, _total: int) -> None:
        told.set()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        each(work, range(10_000), interrupt)
    assert len(begun) < 10_000
