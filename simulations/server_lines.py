"""The ServerApp's lines for an operator, shown as the lab shows its own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Where `server.app` reports.
_LOGGER = "flwr.dermafed"


class _Lines(logging.Handler):
    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._show = show

    def emit(self, record: logging.LogRecord) -> None:
        self._show(record.getMessage())


@contextmanager
def server_lines(show: Callable[[str], None]) -> Iterator[None]:
    """Show the ServerApp's lines for the length of the body, and to nobody else.

    Parameters
    ----------
    show : callable
        Called with each line.
    """
    logger, lines = logging.getLogger(_LOGGER), _Lines(show)
    before = logger.level, logger.propagate
    logger.addHandler(lines)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(lines)
        logger.setLevel(before[0])
        logger.propagate = before[1]
