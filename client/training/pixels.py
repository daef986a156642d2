"""A site's images as pixels, decoded when they are first needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from common.transform import Transform, read_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

# Images beyond this many bytes are decoded anew each time.
_MOST_BYTES = 6 * 2**30


class Pixels:
    """Images of one shape.

    Parameters
    ----------
    paths : sequence of Path, length n
        Image files.
    transform : Transform
        From file to pixels.
    """

    def __init__(self, paths: Sequence[Path], transform: Transform) -> None:
        self._paths, self.transform = paths, transform
        self._known: dict[int, NDArray[np.uint8]] = {}
        height, width = transform.shape
        self._most = _MOST_BYTES // (3 * height * width)

    def take(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Give some images.

        Parameters
        ----------
        rows : ndarray of intp, shape (m,)
            Positions in `paths`.

        Returns
        -------
        ndarray of uint8, shape (m, height, width, 3)

        Raises
        ------
        ImageError
            If a file cannot be read.
        """
        height, width = self.transform.shape
        images = np.empty((len(rows), height, width, 3), dtype=np.uint8)
        for place, row in enumerate(rows.tolist()):
            images[place] = self._one(row)
        return images

    def _one(self, row: int) -> NDArray[np.uint8]:
        known = self._known.get(row)
        if known is None:
            path = self._paths[row]
            known = self.transform.pixels(read_image(path), path)
            if len(self._known) < self._most:
                self._known[row] = known
        return known
