"""Learning by sums: a site contributes, the coordinator adds, a learner updates.

    contribution = learner.contribute(site data, state)     at each site, on private data
    total        = sum of the contributions                 all that the coordinator needs
    state        = learner.update(state, total)             at the coordinator

A learner is therefore independent of how images are spread over sites, and fitting it on one
site that holds everything is the pooled fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from common.errors import ContributionError
from common.split import Split

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
    fold : ndarray of intp, shape (n,), or None
        Fold of each image's lesion, for learners that select; None where there are no folds.
    """

    x: NDArray[Any]
    y: NDArray[np.intp]
    fold: NDArray[np.intp] | None = None

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
    part_of : str
        Name of the array that counts the images of which these are some, its shape that of the
        last axes; empty where there is none. A guarded site hides small parts.
    """

    shape: tuple[int, ...]
    dtype: str = "float64"
    minimum: float | None = None
    times_counted: int = 0
    part_of: str = ""


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
    memory : mapping of str to ndarray
        What the coordinator needs for later rounds and keeps to itself.
    notes : tuple of str
        Lines that an operator should read.
    """

    stage: str
    arrays: Arrays
    done: bool = False
    memory: Arrays = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Learner(Protocol):
    """A learner by sums; one file each, and one line in `common.learners`."""

    problem: Problem

    def start(self) -> State:
        """Give the state before the first round."""

    def state_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Tell which arrays a state of this stage carries; sites check what they receive."""

    def contribution_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Tell which arrays a contribution to this stage carries; the coordinator checks."""

    def part(self, stage: str) -> Split:
        """Tell which part of the split a stage sums over."""

    def verify(self, stage: str, contribution: Contribution) -> None:
        """Refuse one site's sums that no images can have, beyond what a specification says."""

    def contribute(self, data: SiteData, state: State) -> Contribution:
        """Sum over a site's images."""

    def update(self, state: State, total: Contribution) -> State:
        """Take one step from the sums over all sites."""

    def head(self, state: State) -> LinearHead:
        """Make the fitted classifier from the last state."""


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
        if wanted.part_of and (array > arrays[wanted.part_of]).any():
            raise ContributionError(f"{name}: more than {wanted.part_of} counts")
        if wanted.times_counted and count is not None:
            # As Python's integers, which do not wrap around.
            found, expected = int(array.sum(dtype=object)), wanted.times_counted * count
            if found != expected:
                raise ContributionError(
                    f"{name}: sums to {found}, not to {expected} for {count} images"
                )
