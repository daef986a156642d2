"""Matrix products on one thread, so that a sum's last bits do not depend on the core count."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import scipy.linalg  # noqa: F401  # loads the BLAS that the controller must know of
from threadpoolctl import ThreadpoolController


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Run the body's linear algebra on one thread.

    A site's sums then have the same bits in a simulation, in a hospital's node and on a machine
    with more cores (of the same kind); 1,280 features over some thousand images take a second.
    """
    with _controller().limit(limits=1, user_api="blas"):
        yield
