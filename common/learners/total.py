"""The total over sites: added with compensation, so that neither order nor number matters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import ContributionError
from common.learners.base import Contribution

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Elements at a time.
_BLOCK = 8192


class Total:
    """A running sum of contributions that holds one of them at a time.

    Float sums carry their rounding errors along (Knuth's two-sum, The Art of Computer
    Programming 2, section 4.2.2), so that adding sites in another order changes the result by no
    more than its last rounding, and subtracting a site leaves what the others add up to.
    """

    def __init__(self) -> None:
        self.count = 0
        self.sites = 0
        self._high: dict[str, NDArray[Any]] = {}
        self._low: dict[str, NDArray[np.float64]] = {}

    def add(self, contribution: Contribution) -> None:
        """Add a site."""
        self._take(contribution, 1)

    def subtract(self, contribution: Contribution) -> None:
        """Take a site out again."""
        self._take(contribution, -1)

    def value(self) -> Contribution:
        """Give the sum.

        Raises
        ------
        ContributionError
            If no site was added, or the sum overflows.
        """
        if not self.sites:
            raise ContributionError("no site to learn from")
        arrays = {}
        for name, high in self._high.items():
            arrays[name] = high + self._low[name] if name in self._low else high.copy()
            if not np.isfinite(arrays[name]).all():
                raise ContributionError(f"{name}: the sum over the sites overflows")
        return Contribution(self.count, arrays)

    def _take(self, contribution: Contribution, sign: int) -> None:
        if not self._high:
            for name, array in contribution.arrays.items():
                self._high[name] = np.zeros(array.shape, array.dtype)
                if array.dtype.kind == "f":
                    self._low[name] = np.zeros(array.shape)
        self.count += sign * contribution.count
        self.sites += sign
        with np.errstate(over="ignore", invalid="ignore"):
            for name, array in contribution.arrays.items():
                if name in self._low:
                    _two_sum(self._high[name].ravel(), self._low[name].ravel(), array.ravel(), sign)
                else:
                    self._high[name] += sign * array


def _two_sum(
    high: NDArray[np.float64], low: NDArray[np.float64], added: NDArray[np.float64], sign: int
) -> None:
    """Add to a sum and to what its rounding lost, in place.

    Block by block: what is computed in between then stays in the processor's cache.
    """
    for start in range(0, len(high), _BLOCK):
        part = slice(start, start + _BLOCK)
        a, b = high[part], added[part] if sign > 0 else -added[part]
        total = a + b
        taken = total - a
        # The part of a that the sum lost, then the part of b.
        b = b - taken
        np.subtract(total, taken, out=taken)
        np.subtract(a, taken, out=taken)
        taken += b
        low[part] += taken
        high[part] = total
