"""The split by lesion."""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.cohort import load_cohort
from common.split import (
    TURNS,
    Split,
    fold_groups,
    join_groups,
    position,
    split_groups,
    split_of,
)

LESIONS = st.text(min_size=1, max_size=12)


def _by_hand(seed: int, group: str) -> tuple[float, str]:
    digest = hashlib.blake2b(f"{seed}:{group}".encode(), digest_size=8).hexdigest()
    u = int(digest, 16) / 18446744073709551616
    if u < 0.2:
        return u, "test"
    return u, "validation" if u < 0.3 else "train"


@settings(deadline=None, max_examples=200)
@given(seed=st.integers(0, 2**63), group=LESIONS)
def test_a_group_falls_where_the_published_formula_puts_it(seed: int, group: str) -> None:
    u, part = _by_hand(seed, group)
    assert position(seed, group) == u
    assert 0 <= u <= 1
    assert split_of(seed, group).value == part
    assert split_groups(seed, [group]).tolist() == [part]


def test_the_formula_is_frozen() -> None:
    """A change would silently move images into test; from ``b2sum -l 64`` of coreutils."""
    assert position(1, "HAM_0000118") == 0x08C7D1860903A3E8 / 2**64
    assert [part.value for part in Split] == ["train", "validation", "test"]


@settings(deadline=None, max_examples=50)
@given(groups=st.lists(LESIONS, max_size=30), seed=st.integers(0, 9), data=st.data())
def test_neither_other_images_nor_their_order_move_an_image(
    groups: list[str], seed: int, data: st.DataObject
) -> None:
    whole = dict(zip(groups, split_groups(seed, groups).tolist(), strict=True))
    some = data.draw(st.permutations(groups)) if groups else []
    some = some[: len(some) // 2]
    assert split_groups(seed, some).tolist() == [whole[group] for group in some]


def test_no_group_gives_no_part() -> None:
    assert split_groups(1, []).shape == (0,)


def test_the_parts_have_their_shares() -> None:
    found = Counter(split_groups(3, [str(i) for i in range(20_000)]).tolist())
    # Five standard deviations of a binomial.
    assert abs(found["test"] - 4000) < 5 * (20_000 * 0.2 * 0.8) ** 0.5
    assert abs(found["validation"] - 2000) < 5 * (20_000 * 0.1 * 0.9) ** 0.5


def test_seeds_differ() -> None:
    groups = [str(i) for i in range(200)]
    assert split_groups(0, groups).tolist() != split_groups(1, groups).tolist()


def _fold_by_hand(seed: int, group: str, folds: int) -> int:
    digest = hashlib.blake2b(f"{seed}:fold:{group}".encode(), digest_size=8).hexdigest()
    return int(digest, 16) * folds // 2**64


@settings(deadline=None, max_examples=100)
@given(seed=st.integers(0, 2**63), group=LESIONS, folds=st.integers(2, 100))
def test_a_group_falls_into_the_fold_of_the_published_formula(
    seed: int, group: str, folds: int
) -> None:
    assert fold_groups(seed, [group], folds).tolist() == [_fold_by_hand(seed, group, folds)]


def test_the_folds_formula_is_frozen() -> None:
    """A change would make runs of different versions disagree; from ``b2sum -l 64``."""
    # printf 1:fold:HAM_0000118 | b2sum -l 64
    assert fold_groups(1, ["HAM_0000118"], 2**16).tolist() == [0xB2F8]


@settings(deadline=None, max_examples=50)
@given(groups=st.lists(LESIONS, max_size=30), seed=st.integers(0, 9), data=st.data())
def test_neither_other_images_nor_their_order_move_a_lesion_between_folds(
    groups: list[str], seed: int, data: st.DataObject
) -> None:
    found = fold_groups(seed, groups, 5)
    assert found.dtype == np.intp
    assert found.shape == (len(groups),)
    whole = dict(zip(groups, found.tolist(), strict=True))
    # Images of one group are together.
    assert [whole[group] for group in groups] == found.tolist()
    some = data.draw(st.permutations(groups)) if groups else []
    some = some[: len(some) // 2]
    assert fold_groups(seed, some, 5).tolist() == [whole[group] for group in some]


@pytest.mark.parametrize("folds", [2, 5, 10])
def test_folds_have_equal_shares_also_within_each_part(folds: int) -> None:
    groups = [str(i) for i in range(20_000)]
    parts, fold = split_groups(3, groups), fold_groups(3, groups, folds)
    for part in Split:
        inside = fold[parts == part.value]
        expected = len(inside) / folds
        found = np.bincount(inside, minlength=folds)
        assert len(found) == folds
        # Five standard deviations of a binomial: a fold and a part are independent.
        assert np.abs(found - expected).max() < 5 * (expected * (1 - 1 / folds)) ** 0.5
    assert fold_groups(4, groups, folds).tolist() != fold.tolist()


def test_chained_pairs_join_to_the_smallest_id() -> None:
    found = join_groups(["d", "b", "e", "c", "x"], [("e", "d"), ("c", "b"), ("d", "c")])
    assert found == {"b": "b", "c": "b", "d": "b", "e": "b", "x": "x"}


def test_a_pair_may_name_lesions_of_another_hospital() -> None:
    assert join_groups(["c"], [("c", "b"), ("b", "a")])["c"] == "a"


@settings(deadline=None, max_examples=100)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=15),
    data=st.data(),
)
def test_joining_gives_connected_lesions_their_smallest_id(
    pairs: list[tuple[int, int]], data: st.DataObject
) -> None:
    lesions = [f"L{i:02d}" for i in range(13)]
    named = [(lesions[a], lesions[b]) for a, b in pairs]
    # Independent: spread the smallest id along pairs until nothing changes.
    smallest = {lesion: lesion for lesion in lesions}
    for _ in lesions:
        for a, b in named:
            smallest[a] = smallest[b] = min(smallest[a], smallest[b])
    assert join_groups(lesions, named) == smallest
    shuffled = data.draw(st.permutations(named))
    assert join_groups(reversed(lesions), [(b, a) for a, b in shuffled]) == smallest


@pytest.mark.parametrize(
    ("seed", "train", "validation", "test"), [(1, 7066, 989, 1960), (0, 7044, 1009, 1962)]
)
def test_the_real_cohort_splits_as_published(
    ham10000: Path, seed: int, train: int, validation: int, test: int
) -> None:
    cohort = load_cohort(ham10000)
    parts = split_groups(seed, cohort.group)
    assert Counter(parts.tolist()) == {"train": train, "validation": validation, "test": test}
    # Nothing straddles: neither a lesion nor a group.
    for ids in (cohort.group, cohort.lesion):
        assert len(set(zip(ids.tolist(), parts.tolist(), strict=True))) == len(set(ids.tolist()))
    some = np.random.default_rng(0).permutation(len(cohort))[:3000]
    np.testing.assert_array_equal(split_groups(seed, cohort.group[some]), parts[some])


@given(seed=st.integers(0, 2**63), groups=st.lists(LESIONS, min_size=1, max_size=20))
def test_the_five_turns_of_a_seed_test_each_group_once(seed: int, groups: list[str]) -> None:
    parts = [split_groups(seed, groups, turn) for turn in range(TURNS)]
    assert (np.sum([part == "test" for part in parts], axis=0) == 1).all()
    # Images to validate on come after those to test on, so those of one turn are the next one's.
    for part, after in pairwise(parts):
        assert (after[part == "validation"] == "test").all()
    np.testing.assert_array_equal(parts[0], split_groups(seed, groups))
