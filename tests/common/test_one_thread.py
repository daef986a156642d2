"""One BLAS thread inside, as many as before outside."""

from __future__ import annotations

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from common.one_thread import one_blas_thread


def _threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_linear_algebra_runs_on_one_thread_inside_only() -> None:
    with threadpool_limits(2, user_api="blas"):
        assert _threads() == {2}, "no BLAS with threads: the test means nothing"
        with one_blas_thread():
            assert _threads() == {1}
        assert _threads() == {2}


def test_the_number_comes_back_after_an_error() -> None:
    with threadpool_limits(2, user_api="blas"):
        with pytest.raises(RuntimeError), one_blas_thread():
            raise RuntimeError
        assert _threads() == {2}
