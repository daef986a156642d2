"""What a guarded site hides of metadata: combinations that few of its images have.

A sum over a column of zeros and ones is a sum over the images that have the value. Where that is
one image, its product with the image features is that image's features. So within each part of the
split, class and fold, images are told apart by metadata only in groups of the minimum or more; the
values that would part off fewer count as missing (k-anonymity by suppression: Sweeney,
"k-anonymity", Int. J. Uncertainty, Fuzziness and Knowledge-Based Systems 10, 2002).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from common.metadata.encoding import VARIABLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# What tells most is kept first: what comes later is hidden within smaller groups.
_ORDER = ("age", "localisation", "sex")


def hide_rare(
    codes: NDArray[np.intp], cells: Sequence[NDArray[np.generic]], minimum: int
) -> NDArray[np.intp]:
    """Make every combination that occurs in a cell occur there `minimum` times or more.

    Parameters
    ----------
    codes : ndarray of intp, shape (n, 3)
        Of `common.metadata.encoding.metadata_codes`.
    cells : sequence of ndarray, shape (n,) each
        Attributes whose combinations are the cells, such as part and class.
    minimum : int
        Fewest images. Where a cell has fewer, all its values become missing.

    Returns
    -------
    ndarray of intp, shape (n, 3)
    """
    shown = codes.copy()
    groups = [np.arange(len(codes))]
    for cell in cells:
        groups = [rows[cell[rows] == one] for rows in groups for one in np.unique(cell[rows])]
    names = list(VARIABLES)
    for name in _ORDER:
        column, missing = names.index(name), VARIABLES[name].missing
        for rows in groups:
            shown[rows, column] = _merged(shown[rows, column], missing, minimum)
        groups = [
            rows[shown[rows, column] == code]
            for rows in groups
            for code in np.unique(shown[rows, column])
        ]
    return shown


def _merged(values: NDArray[np.intp], missing: int, minimum: int) -> NDArray[np.intp]:
    """Take rare values for missing, and more of them until those that are missing are enough."""
    count = np.bincount(values, minlength=missing + 1)
    order = sorted((code for code in range(missing) if count[code]), key=lambda code: count[code])
    hidden: list[int] = []
    absent = int(count[missing])
    for code in order:
        if count[code] >= minimum and (absent == 0 or absent >= minimum):
            break
        hidden.append(code)
        absent += int(count[code])
    return np.where(np.isin(values, hidden), missing, values)
