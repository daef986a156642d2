"""What a guarded site hides of metadata: combinations that few of its images have.

A sum over a column of zeros and ones is a sum over the images that have the value. Where that is
one image, its product with the image features is that image's features. So within each part of the
split, class and fold, images are told apart by metadata only in groups of the minimum or more
(k-anonymity by suppression: Sweeney, "k-anonymity", Int. J. Uncertainty, Fuzziness and
Knowledge-Based Systems 10, 2002).

What is hidden depends on the class, so that "missing" would tell the class: a hidden value becomes
the mean of those that the site shows, which tells of no class. Images that are predicted keep their
metadata as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from common.metadata.encoding import VARIABLES, encode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

HIDDEN = -1
# What tells most is kept first: what comes later is hidden within smaller groups.
_ORDER = ("localisation", "age", "sex")


def hide_rare(
    codes: NDArray[np.intp], cells: Sequence[NDArray[np.generic]], minimum: int
) -> NDArray[np.intp]:
    """Make every combination that occurs in a cell occur there `minimum` times or more.

    Parameters
    ----------
    codes : ndarray of intp, shape (n, 3)
        Of `common.metadata.encoding.metadata_codes`.
    cells : sequence of ndarray, shape (n,) each
        Attributes whose combinations are the cells, such as class and fold.
    minimum : int
        Fewest images. Where a cell has fewer, all its values are hidden.

    Returns
    -------
    ndarray of intp, shape (n, 3)
        The codes, and `HIDDEN` in place of some.
    """
    shown = codes.copy()
    groups = [np.arange(len(codes))]
    for cell in cells:
        groups = [rows[cell[rows] == one] for rows in groups for one in np.unique(cell[rows])]
    names = list(VARIABLES)
    for name in _ORDER:
        column = names.index(name)
        for rows in groups:
            shown[rows, column] = _merged(shown[rows, column], minimum)
        groups = [
            rows[shown[rows, column] == code]
            for rows in groups
            for code in np.unique(shown[rows, column])
        ]
    return shown


def _merged(values: NDArray[np.intp], minimum: int) -> NDArray[np.intp]:
    """Hide rare values, the rarest first, and more until those that are hidden are enough."""
    count = np.bincount(values)
    hidden: list[int] = []
    images = 0
    for code in sorted(np.flatnonzero(count).tolist(), key=lambda code: count[code]):
        if count[code] >= minimum and (images == 0 or images >= minimum):
            break
        hidden.append(code)
        images += int(count[code])
    return np.where(np.isin(values, hidden), HIDDEN, values)


def encode_shown(codes: NDArray[np.intp], variables: Sequence[str]) -> NDArray[np.float32]:
    """Make the columns of some variables, hidden values as the mean of those that are shown.

    Parameters
    ----------
    codes : ndarray of intp, shape (n, 3)
        Of `hide_rare`, of one part of the split.
    variables : sequence of str
        As in `common.metadata.encoding.encode`.

    Returns
    -------
    ndarray of float32, shape (n, columns)
        Zero where all values of a variable are hidden.
    """
    columns = encode(np.maximum(codes, 0), variables)
    start = 0
    for position, (name, variable) in enumerate(VARIABLES.items()):
        if name not in variables:
            continue
        block = columns[:, start : start + len(variable.columns)]
        hidden = codes[:, position] == HIDDEN
        block[hidden] = block[~hidden].mean(axis=0) if (~hidden).any() else 0.0
        start += len(variable.columns)
    return columns
