"""How many images a class is to have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.imbalance.treatment import Treatment


def class_goals(count: NDArray[np.intp], treatment: Treatment) -> dict[int, int]:
    """Tell what to bring each class to that is to change; classes without an image never do.

    As imbalanced-learn reads its ratios: to ``int(ratio * largest)`` at least, or to
    ``int(smallest / ratio)`` at most.

    Parameters
    ----------
    count : ndarray of intp, shape (classes,)
        Images of each class.
    treatment : Treatment
        Kind and ratio.
    """
    present = np.flatnonzero(count)
    if treatment.kind == "undersample":
        most = int(count[present].min() / treatment.ratio)
        return {int(label): most for label in present if count[label] > most}
    least = int(treatment.ratio * count.max())
    return {int(label): least for label in present if count[label] < least}
