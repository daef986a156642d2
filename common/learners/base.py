"""Learning by sums: a site contributes, the coordinator adds, a learner updates.

    contribution = learner.contribute(site data, state)     at each site, on private data
    total        = add(total, contribution)                 all that the coordinator needs
    state        = learner.update(state, total)             at the coordinator

A learner is therefore independent of how images are spread over sites, and fitting it on one
site that holds everything (`fit_sites` with one element) is the pooled fit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from common.errors import ContributionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.learners.linear_head import LinearHead

Arrays = Mapping[str, "NDArray[Any]"]


@dataclass(frozen=True)
class Problem:
    """What is to be learned.

    Attributes
    ----------
    classes : tuple of str
        Class names; labels index into it.
    dimension : int
        Length of a feature vector.
    """

    classes: tuple[str, ...]
    dimension: int


@dataclass(frozen=True)
class SiteData:
    """The images that a site contributes.

    Attributes
    ----------
    x : ndarray of float32 or float64, shape (n, dimension)
        Features.
    y : ndarray of intp, shape (n,)
        Labels.
    """

    x: NDArray[Any]
    y: NDArray[np.intp]

    def __len__(self) -> int:
        """Count the images."""
        return len(self.y)


@dataclass(frozen=True)
class ArraySpec:
    """What one array of a contribution must look like.

    Attributes
    ----------
    shape : tuple of int
        Exact shape.
    dtype : str
        ``"float64"`` or ``"int64"``.
    minimum : float or None
        Smallest value allowed.
    times_counted : int
        How many times the elements count each image; 0 where they do not count images.
    """

    shape: tuple[int, ...]
    dtype: str = "float64"
    minimum: float | None = None
    times_counted: int = 0


@dataclass(frozen=True)
class Contribution:
    """Sums over some images.

    Attributes
    ----------
    count : int
        How many images.
    arrays : mapping of str to ndarray
        The sums.
    """

    count: int
    arrays: Arrays


@dataclass(frozen=True)
class State:
    """Where a learner stands.

    Attributes
    ----------
    stage : str
        What the next round asks for.
    arrays : mapping of str to ndarray
        What sites need for it, and in the end the model.
    done : bool
        Whether no further round is needed.
    """

    stage: str
    arrays: Arrays
    done: bool = False


class Learner(Protocol):
    """A learner by sums; one file each, and one line in `common.learners`."""

    problem: Problem

    def start(self) -> State:
        """Give the state before the first round."""

    def state_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Tell which arrays a state of this stage carries; sites check what they receive."""

    def contribution_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Tell which arrays a contribution to this stage carries; the coordinator checks."""

    def contribute(self, data: SiteData, state: State) -> Contribution:
        """Sum over a site's images."""

    def update(self, state: State, total: Contribution) -> State:
        """Take one step from the sums over all sites."""

    def head(self, state: State) -> LinearHead:
        """Make the fitted classifier from the last state."""


def add(total: Contribution | None, contribution: Contribution) -> Contribution:
    """Add a contribution to the total so far.

    Raises
    ------
    ContributionError
        If the sum overflows.
    """
    if total is None:
        return contribution
    with np.errstate(over="ignore"):
        arrays = {name: array + contribution.arrays[name] for name, array in total.arrays.items()}
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ContributionError(f"{name}: the sum over the sites overflows")
    return Contribution(total.count + contribution.count, arrays)


def fit_sites(learner: Learner, sites: Sequence[SiteData]) -> State:
    """Run a learner over sites in this process, in their order, until it is done."""
    state = learner.start()
    while not state.done:
        total: Contribution | None = None
        for data in sites:
            total = add(total, learner.contribute(data, state))
        if total is None:
            raise ContributionError("no site to learn from")
        state = learner.update(state, total)
    return state


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
        if array.shape != wanted.shape:
            raise ContributionError(f"{name}: shape {array.shape}, expected {wanted.shape}")
        if array.dtype.name != wanted.dtype:
            raise ContributionError(f"{name}: dtype {array.dtype}, expected {wanted.dtype}")
        if not np.isfinite(array).all():
            raise ContributionError(f"{name}: holds NaN or infinity")
        if wanted.minimum is not None and array.size and float(array.min()) < wanted.minimum:
            raise ContributionError(f"{name}: below {wanted.minimum}")
        if wanted.times_counted and count is not None:
            # As Python's integers, which do not wrap around.
            found, expected = int(array.sum(dtype=object)), wanted.times_counted * count
            if found != expected:
                raise ContributionError(
                    f"{name}: sums to {found}, not to {expected} for {count} images"
                )
