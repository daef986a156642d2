"""The models of several sites in one set of arrays, a row a site."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import ContributionError
from common.learners.base import Arrays, ArraySpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_SITES = 10_000
_SITE = "site_"


def of_sites(
    spec: Mapping[str, ArraySpec], sites: int | None, prefix: str = _SITE
) -> dict[str, ArraySpec]:
    """Describe one array for each, with the sites as its first axis; None for any number."""
    return {
        f"{prefix}{name}": replace(
            one, shape=(sites, *one.shape), times_counted=0, most=MOST_SITES * one.elements
        )
        for name, one in spec.items()
    }


def stack(models: Sequence[Arrays]) -> dict[str, NDArray[Any]]:
    """Put models under each other."""
    return {f"{_SITE}{name}": np.stack([model[name] for model in models]) for name in models[0]}


def each(arrays: Arrays) -> list[dict[str, NDArray[Any]]]:
    """Take them apart again.

    Raises
    ------
    ContributionError
        If there is none, or some arrays hold more of them than others.
    """
    own = {name.removeprefix(_SITE): a for name, a in arrays.items() if name.startswith(_SITE)}
    lengths = {len(array) for array in own.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise ContributionError(f"the arrays of sites' models are of {sorted(lengths)} sites")
    return [{name: array[row] for name, array in own.items()} for row in range(lengths.pop())]
