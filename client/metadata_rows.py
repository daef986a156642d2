"""A site's metadata beside its image features: coded, and at a guarded site hidden where rare."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from common.metadata import Fusion
from common.metadata.encoding import codes_of
from common.metadata.hiding import encode_shown, hide_rare
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
    split: NDArray[np.str_],
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
        The policy. A guarded site hides, among the images that it sums over, what fewer of them
        share than it says, whichever variables the run asks for: otherwise two runs would tell
        more. Test images are predicted alone, with their metadata as they are.
    kept : ndarray of bool, shape (n,)
        Images that are summed over.
    split : ndarray of str, shape (n,)
        Part of the split.
    cells : sequence of (ndarray or None)
        Label and, where there are any, fold of each image.

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
    columns = fusion.columns_of(cohort, rows, codes)
    if not disclosure.exact:
        own = fusion.width - fusion.sites
        for part in (Split.TRAIN, Split.VALIDATION):
            member = kept & (split == part.value)
            within = [cell[member] for cell in cells if cell is not None]
            shown = hide_rare(codes[member], within, disclosure.minimum)
            columns[member, :own] = encode_shown(shown, fusion.variables)
    return fusion.join(x, columns)
