"""The split by lesion: each site decides alone, and every site decides the same.

A group of images (one lesion, or several joined by a list of duplicates) falls into test,
validation or training by a hash of the seed and the group's id, so that neither the partition
into sites nor the presence of other images can move it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEST_BELOW = 0.2
VALIDATION_BELOW = 0.3
# Turned so often, the split has tested every group once.
TURNS = 5


class Split(StrEnum):
    """The part of the split that an image belongs to."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


def position(seed: int, group: str) -> float:
    """Place a group on the unit interval.

    The first 8 bytes, big-endian, of BLAKE2b (digest size 8) of ``"{seed}:{group}"`` in UTF-8,
    over 2^64.
    """
    digest = blake2b(f"{seed}:{group}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def split_of(seed: int, group: str, turn: int = 0) -> Split:
    """Decide one group's part: test below 0.2, validation below 0.3, training above.

    A turn moves the whole by a fifth, so that the five turns of a seed test each group once.
    """
    u = position(seed, group)
    if turn:
        u = (u - TEST_BELOW * turn) % 1.0
    if u < TEST_BELOW:
        return Split.TEST
    return Split.VALIDATION if u < VALIDATION_BELOW else Split.TRAIN


def split_groups(
    seed: int, groups: Sequence[str] | NDArray[np.str_], turn: int = 0
) -> NDArray[np.str_]:
    """Decide every image's part from its group.

    Parameters
    ----------
    seed : int
        The split seed.
    groups : sequence of str, length n
        Each image's group.
    turn : int
        0 to `TURNS` - 1; real sites never turn.

    Returns
    -------
    ndarray of str, shape (n,)
        ``"train"``, ``"validation"`` or ``"test"``.
    """
    known = {group: split_of(seed, group, turn).value for group in set(map(str, groups))}
    return np.array([known[str(group)] for group in groups], dtype="<U10")


def fold_groups(
    seed: int, groups: Sequence[str] | NDArray[np.str_], folds: int
) -> NDArray[np.intp]:
    """Deal groups to folds for cross-validation, by a hash that the split does not use.

    Parameters
    ----------
    seed : int
        The split seed.
    groups : sequence of str, length n
        Each image's group.
    folds : int
        Number of folds.

    Returns
    -------
    ndarray of intp, shape (n,)
    """
    known = {
        group: min(int(position(seed, f"fold:{group}") * folds), folds - 1)
        for group in set(map(str, groups))
    }
    return np.array([known[str(group)] for group in groups], dtype=np.intp)


def join_groups(lesions: Iterable[str], pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Join lesions that are one: each lesion's group is the smallest id of its joined set.

    Parameters
    ----------
    lesions : iterable of str
        Every lesion id.
    pairs : iterable of (str, str)
        Lesions that are the same; pairs chain.

    Returns
    -------
    dict of str to str
        Group of every lesion, also of those that only a pair names.
    """
    parent = {lesion: lesion for lesion in lesions}

    def root(lesion: str) -> str:
        parent.setdefault(lesion, lesion)
        while parent[lesion] != lesion:
            parent[lesion] = parent[parent[lesion]]
            lesion = parent[lesion]
        return lesion

    for a, b in pairs:
        low, high = sorted((root(a), root(b)))
        parent[high] = low
    return {lesion: root(lesion) for lesion in parent}
