"""Random under-sampling by imbalanced-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


def keep_some(y: NDArray[np.intp], goals: Mapping[int, int], seed: int) -> NDArray[np.intp]:
    """Draw the images that stay, without replacement.

    Parameters
    ----------
    y : ndarray of intp, shape (n,)
        Labels.
    goals : mapping of int to int
        Images that stay, by label; of other labels, all stay.
    seed : int
        What is drawn by.

    Returns
    -------
    ndarray of intp
        Positions, ascending.
    """
    from imblearn.under_sampling import RandomUnderSampler

    sampler = RandomUnderSampler(sampling_strategy=dict(goals), random_state=seed)
    sampler.fit_resample(y[:, None], y)
    kept: NDArray[np.intp] = np.sort(sampler.sample_indices_).astype(np.intp)
    return kept
