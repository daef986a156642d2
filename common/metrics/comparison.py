"""Whether one model is better than another on the same images, over several groups at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.metrics.interval import LEVEL, Interval, make_interval, two_sided_p

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Difference:
    """Model A's metric minus model B's, in one group.

    Attributes
    ----------
    difference : Interval
        At 95%, for this group taken alone.
    simultaneous : Interval
        At a level such that all groups' intervals hold together at 95% (Bonferroni).
    p : float or None
        Two-sided, from the same draws, for this group taken alone.
    p_corrected : float or None
        Corrected for the number of groups (Holm, Scandinavian Journal of Statistics 6, 1979).
    """

    difference: Interval
    simultaneous: Interval
    p: float | None
    p_corrected: float | None

    @property
    def decided(self) -> bool:
        """Whether A and B differ, with the chance of any false claim over the groups at 5%."""
        return self.p_corrected is not None and self.p_corrected <= 1.0 - LEVEL


def compare(
    a: Mapping[str, NDArray[np.float64]], b: Mapping[str, NDArray[np.float64]]
) -> dict[str, Difference]:
    """Compare two models in each group.

    Parameters
    ----------
    a, b : mapping of str to ndarray of float64, shape (1 + draws,)
        The metric of each model in each group, by the same resamples of the same images: what
        both have in common cancels. The first row is the data.

    Returns
    -------
    dict of str to Difference
        For the groups that both have; where either has no value, the difference has none.
    """
    groups = [name for name in a if name in b]
    differences = {name: a[name] - b[name] for name in groups}
    p = {name: two_sided_p(values) for name, values in differences.items()}
    corrected = _holm({name: value for name, value in p.items() if value is not None})
    known = max(1, len(corrected))
    return {
        name: Difference(
            make_interval(values),
            make_interval(values, 1.0 - (1.0 - LEVEL) / known),
            p[name],
            corrected.get(name),
        )
        for name, values in differences.items()
    }


def _holm(p: Mapping[str, float]) -> dict[str, float]:
    """Correct for the number of tests, smallest first; none gets smaller than one before it."""
    corrected, least = {}, 0.0
    for rank, name in enumerate(sorted(p, key=lambda one: p[one])):
        least = max(least, min(1.0, (len(p) - rank) * p[name]))
        corrected[name] = least
    return corrected
