"""What Ctrl-C or SIGTERM leaves behind: each command says what is true of it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from common.errors import InterruptionError


@contextmanager
def if_interrupted(told: str) -> Iterator[None]:
    """Say what is true after an interruption of what is inside; a decorator, too.

    Parameters
    ----------
    told : str
        Follows ``interrupted;`` in the command's last line.

    Raises
    ------
    InterruptionError
        In the place of KeyboardInterrupt.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        raise InterruptionError(told) from error


features_are_kept = if_interrupted(
    "features made so far are kept, the same command goes on from there"
)


@contextmanager
def held_back() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until the body is done; an error of the body's goes first."""
    came: list[int] = []
    before = {
        one: signal.signal(one, lambda number, _frame: came.append(number))
        for one in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
    if came:
        signal.raise_signal(came[0])
