"""What arrives over the wire, checked against what was asked for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from common.errors import ContributionError
from common.learners.base import Arrays, ArraySpec


def check_arrays(arrays: Arrays, spec: Mapping[str, ArraySpec], count: int | None = None) -> None:
    """Check names, shapes, dtypes, finiteness and bounds of arrays from elsewhere.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        What arrived.
    spec : mapping of str to ArraySpec
        What was asked for.
    count : int or None
        Images that the arrays sum over, for those that count them.

    Raises
    ------
    ContributionError
        Naming the first array that is wrong, and how.
    """
    if arrays.keys() != spec.keys():
        missing, extra = sorted(spec.keys() - arrays.keys()), sorted(arrays.keys() - spec.keys())
        raise ContributionError(f"wrong arrays: missing {missing}, not asked for {extra}")
    for name, wanted in spec.items():
        array = arrays[name]
        if not wanted.allows(array.shape):
            raise ContributionError(f"{name}: shape {array.shape}, expected {wanted.shape}")
        if array.dtype.name != wanted.dtype:
            raise ContributionError(f"{name}: dtype {array.dtype}, expected {wanted.dtype}")
        if not np.isfinite(array).all():
            raise ContributionError(f"{name}: holds NaN or infinity")
        if wanted.minimum is not None and array.size and float(array.min()) < wanted.minimum:
            raise ContributionError(f"{name}: below {wanted.minimum}")
        if wanted.part_of and (array > arrays[wanted.part_of]).any():
            raise ContributionError(f"{name}: more than {wanted.part_of} counts")
        if wanted.times_counted and count is not None:
            # As Python's integers, which do not wrap around.
            found, expected = int(array.sum(dtype=object)), wanted.times_counted * count
            if found != expected:
                raise ContributionError(
                    f"{name}: sums to {found}, not to {expected} for {count} images"
                )
