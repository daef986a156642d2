"""The models of several candidates as one set of arrays, of which one candidate's are filled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import ContributionError, SettingsError
from common.learners.base import Arrays, ArraySpec
from common.learners.checked import check_arrays

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHOSEN = "candidate"


def any_of(models: Sequence[Mapping[str, ArraySpec]]) -> dict[str, ArraySpec]:
    """Describe arrays that hold any one of several models.

    Parameters
    ----------
    models : sequence of mapping of str to ArraySpec
        Of each candidate.

    Returns
    -------
    dict of str to ArraySpec
        ``candidate``, whose model it is, and every array that one of them has; empty are those
        that this one has not.

    Raises
    ------
    SettingsError
        If two have arrays of one name that differ in more than their lengths.
    """
    spec = {CHOSEN: ArraySpec((1,), "int64", minimum=0)}
    for name in dict.fromkeys(name for model in models for name in model):
        found = [model[name] for model in models if name in model]
        if len({(one.dtype, len(one.shape)) for one in found}) > 1:
            raise SettingsError(
                f"learner settings: space: the candidates' models have different {name}; tune "
                "them one after the other"
            )
        if len(found) == len(models) and len(set(found)) == 1:
            spec[name] = found[0]
            continue
        bounds = [one.minimum for one in found if one.minimum is not None]
        spec[name] = replace(
            found[0],
            shape=(None,) * len(found[0].shape),
            minimum=min(bounds) if len(bounds) == len(found) else None,
            most=max(one.elements for one in found),
        )
    return spec


def put_model(
    chosen: int, arrays: Arrays, spec: Mapping[str, ArraySpec]
) -> dict[str, NDArray[Any]]:
    """Give a candidate's model as `any_of` describes it."""
    empty = {
        name: np.zeros((0,) * len(one.shape), dtype=one.dtype)
        for name, one in spec.items()
        if name not in arrays
    }
    return {**empty, **arrays, CHOSEN: np.array([chosen], dtype=np.int64)}


def chosen_of(arrays: Arrays, candidates: int) -> int:
    """Tell whose model it is.

    Raises
    ------
    ContributionError
        If there is no such candidate.
    """
    chosen = int(arrays[CHOSEN][0])
    if not 0 <= chosen < candidates:
        raise ContributionError(f"{CHOSEN}: {chosen} of {candidates}")
    return chosen


def take_model(arrays: Arrays, own: Mapping[str, ArraySpec]) -> dict[str, NDArray[Any]]:
    """Take a candidate's model out again.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        From `put_model`.
    own : mapping of str to ArraySpec
        What the candidate's model must be.

    Raises
    ------
    ContributionError
        If it is not that, or another candidate's arrays are filled.
    """
    for name, array in arrays.items():
        if name not in own and name != CHOSEN and array.size:
            raise ContributionError(f"{name}: is not the chosen candidate's")
    model = {name: arrays[name] for name in own if name in arrays}
    check_arrays(model, own)
    return model
