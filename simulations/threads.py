"""One piece of work an image, on all cores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from common.features import Progress, cores

Item = TypeVar("Item")
Result = TypeVar("Result")


def each(work: Callable[[Item], Result], items: Sequence[Item], progress: Progress) -> list[Result]:
    """Do a piece of work for every item, in threads.

    Threads serve what Pillow, NumPy and SciPy do, which let go of the interpreter's lock.

    Parameters
    ----------
    work : callable
        Called once an item; the first exception, in the order of the items, ends the work.
    items : sequence
        What to work on.
    progress : callable
        Called with (items done, items in all).

    Returns
    -------
    list
        The results, in the order of the items.
    """
    results: list[Result] = []
    with ThreadPoolExecutor(cores()) as workers:
        # Leaving the loop early cancels what has not begun.
        for result in workers.map(work, items):
            results.append(result)
            progress(len(results), len(items))
    return results
