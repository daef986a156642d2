"""A site's metadata beside its image features: coded, and at a guarded site hidden where rare."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from common.metadata import Fusion
from common.metadata.encoding import VARIABLES, codes_of
from common.metadata.hiding import hide_rare
from common.split import Split

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from common.cohort import Cohort
    from common.disclosure import Disclosure


def fused(
    x: NDArray[np.float32],
    cohort: Cohort,
    rows: NDArray[np.intp],
    fusion: Fusion,
    disclosure: Disclosure,
    kept: NDArray[np.bool_],
    cells: Sequence[NDArray[np.generic] | None],
) -> NDArray[np.float32]:
    """Join a site's image features and metadata.

    Parameters
    ----------
    x : ndarray of float32, shape (n, dimension)
        Image features.
    cohort : Cohort
        The table.
    rows : ndarray of intp, shape (n,)
        The site's images, as positions in it.
    fusion : Fusion
        How to join them.
    disclosure : Disclosure
        The policy. A guarded site takes for missing what fewer images share than it says, in each
        of the cells, whichever variables the run asks for: otherwise two runs would tell more.
    kept : ndarray of bool, shape (n,)
        Images that are summed over; of the others, no metadata are kept.
    cells : sequence of (ndarray or None)
        Part of the split, label and, where there are any, fold of each image.

    Returns
    -------
    ndarray of float32, shape (n, columns)

    Raises
    ------
    SettingsError
        If the cohort has another number of sites than the lab's columns.
    """
    if not fusion.width:
        return x
    codes = codes_of(cohort, rows)
    if not disclosure.exact:
        shown = np.tile([one.missing for one in VARIABLES.values()], (len(rows), 1))
        within = [cell[kept] for cell in cells if cell is not None]
        shown[kept] = hide_rare(codes[kept], within, disclosure.minimum)
        codes = shown
    return fusion.join(x, fusion.columns_of(cohort, rows, codes))


def fold_within(split: NDArray[np.str_], fold: NDArray[np.intp] | None) -> NDArray[np.intp] | None:
    """Give the fold where it parts images: among those to learn from alone."""
    return None if fold is None else np.where(split == Split.TRAIN.value, fold, 0)
