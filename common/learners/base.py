"""Learning by sums: a site contributes, the coordinator adds, a learner updates.

    contribution = learner.contribute(site data, state)     at each site, on private data
    total        = sum of the contributions                 all that the coordinator needs
    state        = learner.update(state, total)             at the coordinator

A learner is therefore independent of how images are spread over sites, and fitting it on one
site that holds everything is the pooled fit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np

from common.split import Split

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from common.learners.settings import LearnerSettings

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
    metadata : int
        How many of its last features are metadata; principal components leave them as they are.
    metadata_scale : float
        What these are multiplied by after standardisation.
    """

    classes: tuple[str, ...]
    dimension: int
    metadata: int = 0
    metadata_scale: float = 1.0

    @property
    def images(self) -> int:
        """Length of what comes from images, which stands first."""
        return self.dimension - self.metadata


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
    minimum : int
        Fewest images that anything told of them may be over, as the site's policy says.
    """

    x: NDArray[Any]
    y: NDArray[np.intp]
    fold: NDArray[np.intp] | None = None
    minimum: int = 1

    def __len__(self) -> int:
        """Count the images."""
        return len(self.y)


@dataclass(frozen=True)
class ArraySpec:
    """What one array of a contribution must look like.

    Attributes
    ----------
    shape : tuple of int or None
        Exact shape; None for an axis of any length.
    dtype : str
        Name of a NumPy number.
    minimum : float or None
        Smallest value allowed.
    times_counted : int
        How many times the elements count each image; 0 where they do not count images.
    part_of : str
        Name of the array that counts the images of which these are some, its shape that of the
        last axes; empty where there is none. A guarded site hides small parts.
    most : int
        Elements at most, where an axis may be of any length.
    """

    shape: tuple[int | None, ...]
    dtype: str = "float64"
    minimum: float | None = None
    times_counted: int = 0
    part_of: str = ""
    most: int = 0

    @property
    def elements(self) -> int:
        """Elements at most."""
        if None in self.shape:
            return self.most
        return math.prod(length or 0 for length in self.shape)

    def allows(self, shape: tuple[int, ...]) -> bool:
        """Tell whether an array may be of this shape."""
        if None not in self.shape:
            return shape == self.shape
        fits = len(shape) == len(self.shape) and all(
            wanted in (None, length) and length >= 0
            for wanted, length in zip(self.shape, shape, strict=True)
        )
        return fits and math.prod(shape) <= self.most


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
    turn : int or None
        The site that is asked alone, in the order of the names, counted around; None to ask all.
    """

    stage: str
    arrays: Arrays
    done: bool = False
    memory: Arrays = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    turn: int | None = None

    def asked(self, sites: Iterable[str]) -> tuple[str, ...]:
        """Tell which of the sites the next round asks, in the order of their names."""
        names = tuple(sorted(sites))
        return names if self.turn is None else (names[self.turn % len(names)],)


class Head(Protocol):
    """What a learner ends in: a scikit-learn classifier that can be made of a learner's arrays.

    Attributes
    ----------
    classes_ : ndarray, shape (k,)
        Classes that had training images.
    """

    settings_type: ClassVar[type[LearnerSettings]]
    classes_: NDArray[Any]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Give the parameters by name."""

    def set_params(self, **params: Any) -> Self:  # noqa: ANN401
        """Take parameters by name."""

    def set_fitted(self, arrays: Arrays, classes: NDArray[Any]) -> Self:
        """Take over a learner's last arrays and the names of all classes."""

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Name the most probable class, shape (n,)."""

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Give probabilities, shape (n, k)."""


class Learner(Protocol):
    """A learner by sums; one file each, and one line in `common.learners`.

    The arrays of its last state hold ``class_count``, int64 of shape (classes,).
    """

    problem: Problem

    @property
    def settings(self) -> LearnerSettings:
        """What was set."""

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that a fit may go through, in their order."""

    @property
    def rounds(self) -> int | None:
        """The rounds that a fit takes; None where its answers tell when it is done."""

    @property
    def most_rounds(self) -> int | None:
        """The rounds that a fit takes at most; None where nothing bounds them beforehand."""

    def warm_start(self, arrays: Arrays) -> None:
        """Start from a fitted model's arrays; `SettingsError` if the learner cannot."""

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

    def head(self, state: State) -> Head:
        """Make the fitted classifier from the last state."""


@runtime_checkable
class CollectiveLearner(Learner, Protocol):
    """A learner some of whose answers do not add up: the coordinator sees each site's."""

    def apart(self, stage: str) -> bool:
        """Tell whether the answers to a stage are merged, not added."""

    def merge(self, state: State, parts: Mapping[str, Contribution]) -> State:
        """Take one step from each site's answer, by the sites' names."""
