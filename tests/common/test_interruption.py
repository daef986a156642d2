"""Ctrl-C and SIGTERM: what a command says then, and what they must not cut in two."""

from __future__ import annotations

import inspect
import signal
from collections.abc import Iterator

import pytest

from common.errors import DeploymentError, InterruptionError
from common.interruption import features_are_kept, held_back, if_interrupted


@pytest.fixture(autouse=True)
def _as_on_the_command_line() -> Iterator[None]:
    def terminate(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, terminate)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_command_says_what_is_true_after_its_interruption() -> None:
    for _ in range(2):
        with (
            pytest.raises(InterruptionError, match="^the run goes on$"),
            if_interrupted("the run goes on"),
        ):
            raise KeyboardInterrupt
    with pytest.raises(DeploymentError), if_interrupted("the run goes on"):
        raise DeploymentError


def test_as_a_decorator_it_leaves_a_commands_options_as_they_are() -> None:
    def command(cohort: str, draws: int = 3) -> None:
        raise KeyboardInterrupt

    decorated = features_are_kept(command)
    assert inspect.signature(decorated) == inspect.signature(command)
    for _ in range(2):
        with pytest.raises(InterruptionError, match="^features made so far are kept, "):
            decorated("ham")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_waits_for_the_end_of_what_must_be_whole(number: signal.Signals) -> None:
    done = []
    with pytest.raises(KeyboardInterrupt):
        with held_back():
            signal.raise_signal(number)
            done.append("the rest")
        done.append("too far")
    assert done == ["the rest"]
    # From then on it comes at once again.
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)


def test_without_an_interruption_nothing_is_raised() -> None:
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    with held_back():
        pass
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == before


def test_an_error_of_what_must_be_whole_goes_before_the_interruption() -> None:
    with pytest.raises(DeploymentError), held_back():
        signal.raise_signal(signal.SIGINT)
        raise DeploymentError
