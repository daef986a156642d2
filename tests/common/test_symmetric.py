"""Packed symmetric matrices and their solution, against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from common.errors import ContributionError
from common.learners.symmetric import (
    add_products,
    check_positive,
    pack,
    packed_length,
    solve_positive,
    unpack,
)

SEEDS = st.integers(0, 2**32 - 1)


def _symmetric(seed: int, size: int) -> NDArray[np.float64]:
    half = np.random.default_rng(seed).normal(size=(size, size))
    matrix: NDArray[np.float64] = half + half.T
    return matrix


def _gram(seed: int, rows: int, size: int, spread: float = 0.0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, size)) * 10.0 ** rng.uniform(-spread, spread, size)
    gram: NDArray[np.float64] = x.T @ x
    return gram


@settings(max_examples=50)
@given(seed=SEEDS, size=st.integers(1, 30))
def test_what_is_packed_is_the_upper_triangle_by_columns(seed: int, size: int) -> None:
    matrix = _symmetric(seed, size)
    packed = pack(matrix)
    assert packed.tolist() == [matrix[i, j] for j in range(size) for i in range(j + 1)]
    assert len(packed) == packed_length(size)
    np.testing.assert_array_equal(unpack(packed, size), matrix)
    # Only the upper triangle counts, in either layout.
    np.testing.assert_array_equal(pack(np.asfortranarray(np.triu(matrix))), packed)


@settings(max_examples=50)
@given(seed=SEEDS, rows=st.integers(0, 40), size=st.integers(1, 20))
def test_products_are_added_to_what_there_is(seed: int, rows: int, size: int) -> None:
    x = np.random.default_rng(seed).normal(size=(rows, size))
    first = add_products(x)
    np.testing.assert_allclose(unpack(pack(first), size), x.T @ x, rtol=0, atol=1e-13 * rows)
    both = add_products(np.ascontiguousarray(x[::-1] * 2.0), first)
    np.testing.assert_allclose(unpack(pack(both), size), 5.0 * x.T @ x, rtol=0, atol=1e-12 * rows)


@settings(max_examples=200)
@given(
    seed=SEEDS, rows=st.integers(0, 40), size=st.integers(1, 40), spread=st.sampled_from([0, 3, 9])
)
def test_a_gram_matrix_is_accepted_however_few_its_rows(
    seed: int, rows: int, size: int, spread: int
) -> None:
    check_positive("gram", _gram(seed, rows, size, spread))


@pytest.mark.parametrize("rows", [100, 5_000, 100_000])
@pytest.mark.parametrize("size", [1, 2, 7])
@pytest.mark.parametrize("value", [0.1, 1e-8, 1e8])
def test_a_gram_matrix_of_many_equal_rows_is_accepted(rows: int, size: int, value: float) -> None:
    check_positive("gram", unpack(pack(add_products(np.full((rows, size), value))), size))


@pytest.mark.parametrize("size", [1, 2, 30, 200])
@pytest.mark.parametrize("share", [1e-6, 1e-3, 1.0])
def test_a_negative_eigenvalue_is_refused(size: int, share: float) -> None:
    gram = _gram(3, 2 * size, size)
    values, vectors = np.linalg.eigh(gram)
    values[0] = -share * values[-1]
    # A matrix with just one such eigenvalue, in a direction of its own.
    bad = (vectors * values) @ vectors.T
    with pytest.raises(ContributionError, match="^gram: has a negative eigenvalue"):
        check_positive("gram", (bad + bad.T) / 2)


@pytest.mark.parametrize("size", [1, 2, 5, 70, 200])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["first", "last", "corner"])
def test_what_is_not_finite_is_refused(size: int, value: float, where: str) -> None:
    matrix = np.eye(size)
    row, column = {"first": (0, 0), "last": (size - 1, size - 1), "corner": (0, size - 1)}[where]
    matrix[row, column] = matrix[column, row] = value
    with pytest.raises(ContributionError, match="gram"):
        check_positive("gram", matrix)
    with pytest.raises(ContributionError, match="no images can have the sums"):
        solve_positive(matrix, np.ones(size))


@settings(max_examples=50)
@given(seed=SEEDS, size=st.integers(1, 30), columns=st.integers(0, 3))
def test_a_regular_system_is_solved_as_numpy_does(seed: int, size: int, columns: int) -> None:
    matrix = _gram(seed, size + 10, size) + np.eye(size)
    shape = (size, columns) if columns else (size,)
    right = np.random.default_rng(seed + 1).normal(size=shape)
    before = matrix.copy()
    solution, notes = solve_positive(matrix, right)
    assert notes == ()
    assert solution.shape == shape
    np.testing.assert_allclose(solution, np.linalg.solve(matrix, right), rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(matrix, before)


@settings(max_examples=150)
@given(seed=SEEDS, size=st.integers(2, 30), data=st.data())
def test_a_singular_system_is_solved_by_least_norm_with_a_note(
    seed: int, size: int, data: st.DataObject
) -> None:
    """Also where rounding leaves a singular matrix a Cholesky factor, as it often does."""
    rank = data.draw(st.integers(1, size - 1))
    rng = np.random.default_rng(seed)
    # Rows with singular values from 1 to 2, so that the reference is well determined.
    left, _ = np.linalg.qr(rng.normal(size=(rank, rank)))
    basis, _ = np.linalg.qr(rng.normal(size=(size, rank)))
    x = (left * rng.uniform(1.0, 2.0, rank)) @ basis.T
    matrix, right = x.T @ x, x.T @ rng.normal(size=(rank, 2))
    solution, notes = solve_positive(matrix, right)
    np.testing.assert_allclose(solution, np.linalg.lstsq(matrix, right, 1e-8)[0], atol=1e-11)
    np.testing.assert_allclose(solution, np.linalg.pinv(matrix, rcond=1e-8) @ right, atol=1e-11)
    (note,) = notes
    assert note.startswith(f"singular to rounding (rank {rank} of {size})")


def test_two_equal_features_share_their_coefficient() -> None:
    # By hand: 2 (a + b) = 4 and a = b.
    solution, notes = solve_positive(np.full((2, 2), 2.0), np.array([4.0, 4.0]))
    np.testing.assert_allclose(solution, [1.0, 1.0], rtol=1e-14)
    assert "rank 1 of 2" in notes[0]


@pytest.mark.parametrize("share", [1e-6, 1.0])
def test_an_indefinite_system_is_refused(share: float) -> None:
    matrix = np.diag([1.0, 2.0, -share])
    with pytest.raises(ContributionError, match="a negative eigenvalue"):
        solve_positive(matrix, np.ones(3))


def test_a_system_of_zeros_is_refused() -> None:
    with pytest.raises(ContributionError, match="all are zero"):
        solve_positive(np.zeros((2, 2)), np.ones(2))
