"""Work over Ray's workers: a few pieces in flight, each result in hand as soon as it is there."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import ray

from common.errors import DermafedError, StudyError

Piece = TypeVar("Piece")


class Watch(Protocol):
    """Told what is going on."""

    def __call__(self, done: int, total: int, running: Sequence[str]) -> None:
        """Show pieces done, pieces in all, and the names of those being worked on."""


def run_pieces(
    function: Callable[..., Any],
    shared: Any,  # noqa: ANN401
    pieces: Sequence[Piece],
    name: Callable[[Piece], str],
    at_once: int,
    watch: Watch,
) -> Iterator[tuple[Piece, Any]]:
    """Call ``function(shared, piece)`` for each piece, a core each.

    Parameters
    ----------
    function : callable
        Imported by the workers; a `DermafedError` of its own comes out as it was raised there.
    shared : object
        Put into Ray's store once; its arrays are read by the workers without a copy.
    pieces : sequence
        What is to be done, in order.
    name : callable
        Names a piece, for people.
    at_once : int
        Pieces worked on at a time.
    watch : callable
        Told whenever something changes.

    Yields
    ------
    piece, result
        As they are done.

    Raises
    ------
    StudyError
        If a worker dies again and again; what was yielded before stays done.
    """
    task: Any = ray.remote(num_cpus=1)(function)
    store = ray.put(shared)
    waiting, done = deque(pieces), 0
    running: dict[Any, Piece] = {}
    while waiting or running:
        # One more than is worked on, so that no core waits for the next.
        while waiting and len(running) <= at_once:
            piece = waiting.popleft()
            running[task.remote(store, piece)] = piece
        watch(done, len(pieces), [name(piece) for piece in running.values()][:at_once])
        ready, _ = ray.wait(list(running), num_returns=1)
        piece = running.pop(ready[0])
        result = _get(ready[0], name(piece))
        done += 1
        watch(done, len(pieces), [name(one) for one in running.values()][:at_once])
        yield piece, result


def _get(reference: Any, name: str) -> Any:  # noqa: ANN401
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, DermafedError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise StudyError(
            f"{name}: its worker died ({type(error).__name__}); free some memory, or give fewer "
            "cores with `taskset`, and run again: what is done is kept"
        ) from error
