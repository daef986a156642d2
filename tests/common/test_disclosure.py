"""The policy: nothing small is shown, nothing is lost, and what stays secret is told."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from common.disclosure import EXACT, GUARDED, Disclosure
from common.errors import SettingsError
from common.limits import DEFAULT_MINIMUM

# Small counts beside large ones, and many empty cells.
COUNTS = st.one_of(st.just(0), st.integers(1, 9), st.integers(10, 400))
MINIMA = st.integers(2, 12)
CONFUSIONS = st.integers(1, 6).flatmap(lambda k: arrays(np.int64, (k, k), elements=COUNTS))
HISTOGRAMS = arrays(np.int64, st.tuples(st.integers(1, 3), st.integers(1, 24)), elements=COUNTS)


def _int64(*rows: list[int]) -> NDArray[np.int64]:
    return np.array(rows, dtype=np.int64)


@pytest.mark.parametrize("minimum", [0, -5])
def test_a_minimum_below_one_is_refused(minimum: int) -> None:
    with pytest.raises(SettingsError, match=f"disclosure: a minimum of {minimum} images"):
        Disclosure(minimum)


def test_only_a_minimum_of_one_is_exact() -> None:
    assert Disclosure() == EXACT == Disclosure(1)
    assert EXACT.exact
    assert not Disclosure(2).exact
    assert GUARDED.minimum == DEFAULT_MINIMUM == 5
    assert not GUARDED.exact


# Which images


def test_images_of_cells_with_too_few_are_left_out_as_computed_by_hand() -> None:
    label = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2], dtype=np.intp)
    fold = np.array([0, 0, 1, 0, 1, 1, 0, 0, 1], dtype=np.intp)
    assert Disclosure(3).keep(label).tolist() == [True] * 7 + [False] * 2
    # (0, 0) and (1, 1) hold 3 and 2 images, every other cell 1.
    by_both = Disclosure(2).keep(label, fold)
    assert by_both.tolist() == [True, True, False, True, True, True, False, False, False]


@given(rows=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=80), minimum=MINIMA)
def test_a_cell_is_kept_whole_or_not_at_all(rows: list[tuple[int, int]], minimum: int) -> None:
    label, fold = np.array(rows, dtype=np.intp).reshape(-1, 2).T
    kept = Disclosure(minimum).keep(label, fold)
    held = Counter(rows)
    assert kept.tolist() == [held[row] >= minimum for row in rows]
    # Sums by class alone then hold as many, too.
    assert all(count >= minimum for count in Counter(label[kept].tolist()).values())


def test_the_exact_policy_keeps_every_image() -> None:
    assert EXACT.keep(np.arange(4), np.arange(4)).tolist() == [True] * 4
    assert EXACT.keep(np.zeros(0, dtype=np.intp)).tolist() == []


# The confusion matrix


def test_cells_are_withheld_as_computed_by_hand() -> None:
    confusion = _int64(
        [30, 4, 0, 3],  # 7 images in small cells: enough
        [9, 50, 7, 2],  # 2: the 7 off the diagonal goes, too
        [0, 1, 40, 0],  # 1: there is none but the diagonal
        [8, 0, 0, 6],  # nothing small
    )
    kept, withheld = Disclosure(5).withhold_cells(confusion)
    assert kept.tolist() == [[30, 0, 0, 0], [9, 50, 0, 0], [0, 0, 0, 0], [8, 0, 0, 6]]
    assert withheld.tolist() == [[0, 1, 0, 1], [0, 0, 1, 1], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert kept.dtype == withheld.dtype == np.int64


def test_a_small_diagonal_takes_a_cell_with_it() -> None:
    kept, withheld = GUARDED.withhold_cells(_int64([2, 6, 5], [0, 9, 0], [0, 0, 0]))
    assert kept.tolist() == [[0, 6, 0], [0, 9, 0], [0, 0, 0]]
    assert withheld.tolist() == [[1, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_a_row_with_too_few_images_is_withheld_with_its_empty_cells() -> None:
    kept, withheld = GUARDED.withhold_cells(_int64([3, 0], [0, 9]))
    assert kept.tolist() == [[0, 0], [0, 9]]
    assert withheld.tolist() == [[1, 1], [0, 0]]


@settings(max_examples=300)
@given(confusion=CONFUSIONS, minimum=MINIMA)
def test_no_small_count_is_shown_or_left_by_subtraction(
    confusion: NDArray[np.int64], minimum: int
) -> None:
    before = confusion.copy()
    kept, withheld = Disclosure(minimum).withhold_cells(confusion)
    np.testing.assert_array_equal(confusion, before)
    assert not ((kept > 0) & (kept < minimum)).any()
    assert np.isin(withheld, (0, 1)).all()
    np.testing.assert_array_equal(kept, np.where(withheld == 1, 0, confusion))
    for row, hidden in zip(confusion, withheld == 1, strict=True):
        images = row[hidden].sum()
        if row.sum() >= minimum:
            assert images == 0 or images >= minimum
            assert (row[hidden] > 0).all()
        else:
            assert hidden.all() == (row.sum() > 0)


@given(confusion=CONFUSIONS, minimum=MINIMA)
def test_no_more_than_one_large_count_of_a_row_is_withheld_and_the_diagonal_last(
    confusion: NDArray[np.int64], minimum: int
) -> None:
    _, withheld = Disclosure(minimum).withhold_cells(confusion)
    for truth, (row, hidden) in enumerate(zip(confusion, withheld == 1, strict=True)):
        small = (row > 0) & (row < minimum)
        taken = np.flatnonzero(hidden & (row >= minimum))
        assert len(taken) == (0 < row[small].sum() < minimum <= row.sum())
        if len(taken):
            others = np.delete(row, truth)
            others = others[others >= minimum]
            # The smallest off the diagonal; the diagonal where there is none.
            assert (taken[0] == truth) == (not others.size)
            assert row[taken[0]] == (others.min() if others.size else row[truth])


# Histograms


def test_bins_are_merged_as_computed_by_hand() -> None:
    #                bin 0  1  2  3  4  5  6  7  8  9
    counts = _int64([0, 1, 2, 2, 0, 7, 0, 4, 1, 1])
    merged = GUARDED.merge_bins(counts)
    # 1, 2, 2 at (1 + 4 + 6) / 5 = 2.2; 7 alone; 4, 1 and the 1 left over at 45 / 6 = 7.5.
    assert merged.tolist() == [[0, 0, 5, 0, 0, 7, 0, 0, 6, 0]]
    assert merged.dtype == np.int64


def test_a_histogram_with_too_few_images_is_emptied() -> None:
    counts = _int64([0, 4, 0], [0, 0, 0], [2, 1, 2])
    assert GUARDED.merge_bins(counts).tolist() == [[0, 0, 0], [0, 0, 0], [0, 5, 0]]


@settings(max_examples=300)
@given(counts=HISTOGRAMS, minimum=MINIMA)
def test_merged_bins_hold_enough_and_lose_no_image(counts: NDArray[np.int64], minimum: int) -> None:
    before = counts.copy()
    merged = Disclosure(minimum).merge_bins(counts)
    np.testing.assert_array_equal(counts, before)
    assert (merged[merged > 0] >= minimum).all()
    total = counts.sum(axis=-1)
    np.testing.assert_array_equal(merged.sum(axis=-1), np.where(total < minimum, 0, total))
    for bins, groups in zip(counts, merged, strict=True):
        values = np.repeat(np.arange(len(bins)), bins)
        held = groups[groups > 0]
        # Each group's images in their order, and the bin that is nearest to their mean.
        parts = np.split(values, np.cumsum(held)[:-1]) if len(held) else []
        assert [round(part.mean() + 1e-9) for part in parts] == np.flatnonzero(groups).tolist()
        # No bin is shared out, and no group could have been two.
        assert all(a[-1] < b[0] for a, b in itertools.pairwise(parts))
        for part in parts[:-1]:
            assert np.count_nonzero(part < part[-1]) < minimum


@given(counts=HISTOGRAMS, minimum=MINIMA)
def test_each_bins_images_go_where_the_merged_histogram_has_them(
    counts: NDArray[np.int64], minimum: int
) -> None:
    policy = Disclosure(minimum)
    for bins, groups in zip(counts, policy.merge_bins(counts), strict=True):
        target = policy.group_bins(bins)
        moved = np.bincount(np.repeat(target, bins), minlength=len(bins))
        # What holds too few in all cannot be merged: it is not to be shown.
        np.testing.assert_array_equal(moved, groups if bins.sum() >= minimum else bins)
        assert (np.diff(target[bins > 0]) >= 0).all()
        empty = np.flatnonzero(bins == 0)
        np.testing.assert_array_equal(target[empty], empty)


@given(counts=HISTOGRAMS, minimum=MINIMA)
def test_histograms_of_any_leading_shape_are_merged_alike(
    counts: NDArray[np.int64], minimum: int
) -> None:
    policy = Disclosure(minimum)
    stacked = policy.merge_bins(np.stack([counts, counts[::-1]]))
    np.testing.assert_array_equal(stacked[0], policy.merge_bins(counts))
    np.testing.assert_array_equal(stacked[1, 0], policy.merge_bins(counts[-1]))


@given(confusion=CONFUSIONS, counts=HISTOGRAMS)
def test_the_exact_policy_changes_nothing(
    confusion: NDArray[np.int64], counts: NDArray[np.int64]
) -> None:
    kept, withheld = EXACT.withhold_cells(confusion)
    np.testing.assert_array_equal(kept, confusion)
    assert not withheld.any()
    assert withheld.shape == confusion.shape
    np.testing.assert_array_equal(EXACT.merge_bins(counts), counts)
    for row in counts:
        np.testing.assert_array_equal(EXACT.group_bins(row), np.arange(len(row)))


# Parts of a count


@given(
    whole=st.integers(0, 40).filter(lambda n: n == 0 or n >= 5),
    share=st.floats(0, 1),
)
def test_a_rounded_part_tells_of_no_few_images_and_moves_by_less_than_the_minimum(
    whole: int, share: float
) -> None:
    part = round(share * whole)
    rounded = int(Disclosure(5).round_parts(np.array([part]), np.array([whole]))[0])
    assert rounded == 0 or rounded >= 5
    assert whole - rounded == 0 or whole - rounded >= 5
    assert abs(rounded - part) <= (2 if whole >= 10 else 4)
    if min(part, whole - part) >= 5 or part in (0, whole):
        assert rounded == part


def test_parts_are_rounded_alike_from_both_ends() -> None:
    policy, whole = Disclosure(5), np.full(21, 20)
    rounded = policy.round_parts(np.arange(21), whole)
    assert rounded.tolist() == [0, 0, 0, 5, 5, *range(5, 16), 15, 15, 20, 20, 20]
    assert policy.round_parts(np.arange(8), np.full(8, 7)).tolist() == [0, 0, 0, 0, 7, 7, 7, 7]
    assert EXACT.round_parts(np.arange(21), whole).tolist() == list(range(21))
