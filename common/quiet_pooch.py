"""Downloads by pooch that say nothing of their own accord."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_pooch() -> Iterator[None]:
    """Keep pooch from telling what progress and errors tell already."""
    import pooch

    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
