"""Which pairs of images are worth a look: those with near perceptual hashes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from client.audit.pictures import HASH_SIDE, ORIENTATIONS, Pictures
from common.cohort import Cohort

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Largest distances of hashes, of 256 bits.
NEAR, NEAR_OF_ONE_PATIENT, NEAR_TURNED = 84, 120, 40
# More candidates than this are not compared: the nearest are.
CANDIDATES_AT_MOST = 1_000_000
_BITS = HASH_SIDE * HASH_SIDE
_ROWS = 512


@dataclass(frozen=True)
class Candidates:
    """Pairs of images that are worth a look.

    Attributes
    ----------
    a, b : ndarray of intp, shape (p,)
        Rows of the cohort.
    turned : ndarray of intp, shape (p,)
        Index into `ORIENTATIONS`: how `a` must be turned to look like `b`.
    distance : ndarray of int16, shape (p,)
        Bits in which the hashes differ.
    dropped : int
        Farther pairs that were left out.
    """

    a: NDArray[np.intp]
    b: NDArray[np.intp]
    turned: NDArray[np.intp]
    distance: NDArray[np.int16]
    dropped: int


def find_candidates(
    cohort: Cohort, pictures: Pictures, *, at_most: int = CANDIDATES_AT_MOST
) -> Candidates:
    """Find pairs of different lesions, and of different bytes, with near hashes.

    Raises
    ------
    ValueError
        If the pictures were opened without hashes.
    """
    if pictures.hashes is None:
        raise ValueError("the pictures were opened without their hashes")
    n = len(cohort)
    upright = _signs(pictures.hashes[:, 0])
    _, group = np.unique(cohort.group, return_inverse=True)
    content = _codes([(digest,) for digest in pictures.digest])
    patient = _patients(cohort)
    kept = np.zeros((4, 0), dtype=np.int64)
    dropped = 0
    for start in range(0, n, _ROWS):
        rows = slice(start, min(start + _ROWS, n))
        for turned in range(len(ORIENTATIONS)):
            # With bits of -1 and 1, distances are one matrix product, exact in float32.
            distance = (_BITS - _signs(pictures.hashes[rows, turned]) @ upright[start:].T) / 2
            if turned:
                near = distance <= NEAR_TURNED
            else:
                same = (patient[start:] == patient[rows, None]) & (patient[rows, None] >= 0)
                near = (distance <= NEAR) | (same & (distance <= NEAR_OF_ONE_PATIENT))
            i, j = np.nonzero(near)
            a, b = i + start, j + start
            allowed = (a < b) & (group[a] != group[b]) & (content[a] != content[b])
            allowed &= pictures.readable[a] & pictures.readable[b]
            pairs = np.stack([a, b, np.full(len(a), turned), distance[i, j]])[:, allowed]
            kept = np.concatenate([kept, pairs.astype(np.int64)], axis=1)
            if kept.shape[1] > 2 * at_most:
                kept, less = _nearest(kept, at_most)
                dropped += less
    kept, less = _nearest(kept, at_most)
    order = np.lexsort((kept[1], kept[0], kept[2]))
    a, b, turned_by, distances = kept[:, order]
    return Candidates(a, b, turned_by, distances.astype(np.int16), dropped + less)


def _signs(code: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.unpackbits(code, axis=-1).astype(np.float32) * 2 - 1


def _nearest(pairs: NDArray[np.int64], most: int) -> tuple[NDArray[np.int64], int]:
    """Keep the nearest pairs, and tell how many were let go."""
    order = np.argsort(pairs[3], kind="stable")[:most]
    return pairs[:, order], pairs.shape[1] - len(order)


def _patients(cohort: Cohort) -> NDArray[np.intp]:
    """Give images that may be of one patient and place one number; -1 where the age is missing."""
    columns = (cohort.age, cohort.sex, cohort.localisation, cohort.site)
    codes = _codes(list(zip(*(column.tolist() for column in columns), strict=True)))
    codes[np.isnan(cohort.age)] = -1
    return codes


def _codes(keys: list[tuple[object, ...]]) -> NDArray[np.intp]:
    number: dict[tuple[object, ...], int] = {}
    return np.array([number.setdefault(key, len(number)) for key in keys], dtype=np.intp)
