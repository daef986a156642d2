"""Which columns a member of an ensemble sees: those of images, those of metadata, or all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from common.errors import SettingsError
from common.learners.base import Arrays, Head, Problem
from common.learners.settings import LearnerSettings

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

ALL, IMAGES, METADATA = "all", "images", "metadata"
BLOCKS = (ALL, IMAGES, METADATA)


def check_blocks(blocks: Sequence[str]) -> None:
    """Refuse members that leave a block to nobody.

    Raises
    ------
    ValueError
        Naming it.
    """
    if ALL in blocks:
        return
    for block in (IMAGES, METADATA):
        if block not in blocks:
            raise ValueError(f"members: none sees the block {block}")


def problem_of_block(problem: Problem, block: str) -> Problem:
    """Give the problem over a block's columns.

    Raises
    ------
    SettingsError
        If the run has no such columns.
    """
    if block == ALL:
        return problem
    if not problem.metadata or not problem.images:
        raise SettingsError(
            f"learner settings: a member sees the block {block}, but the run has no two blocks; "
            "give metadata=late, or leave block out"
        )
    if block == IMAGES:
        return Problem(problem.classes, problem.images)
    return replace(problem, dimension=problem.metadata)


def columns_of_block(problem: Problem, block: str) -> slice:
    """Tell where a block's columns are."""
    if block == ALL:
        return slice(None)
    return slice(problem.images) if block == IMAGES else slice(problem.images, None)


class BlockHead:
    """A fitted head that is given the columns of both blocks and sees those of one.

    Parameters
    ----------
    head : Head
        Fitted on a block.
    block : str
        ``images``, which stand first, or ``metadata``, which stand last.

    Attributes
    ----------
    classes_ : ndarray, shape (k,)
        Classes that had training images.
    """

    settings_type: ClassVar[type[LearnerSettings]] = LearnerSettings
    classes_: NDArray[Any]

    def __init__(self, head: Head, block: str) -> None:
        self.head, self.block = head, block
        self.classes_ = head.classes_

    @property
    def n_features_in_(self) -> int:
        """Number of the columns that it sees."""
        return features_of([self.head])

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Give the head's parameters by name."""
        return self.head.get_params(deep)

    def set_params(self, **params: Any) -> Self:  # noqa: ANN401
        """Give parameters to the head."""
        self.head.set_params(**params)
        return self

    def set_fitted(self, arrays: Arrays, classes: NDArray[Any]) -> Self:
        """Let the head take over a learner's last arrays."""
        self.head.set_fitted(arrays, classes)
        self.classes_ = self.head.classes_
        return self

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Name the most probable class, shape (n,)."""
        return self.head.predict(self._seen(X))

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Give probabilities, shape (n, k)."""
        return self.head.predict_proba(self._seen(X))

    def _seen(self, X: ArrayLike) -> NDArray[Any]:
        x, width = np.asarray(X), self.n_features_in_
        return x[:, :width] if self.block == IMAGES else x[:, x.shape[1] - width :]


def features_of(heads: Sequence[Any]) -> int:
    """Tell how many columns heads take together, of which some may see one block each."""
    blocks = {getattr(head, "block", ALL): int(head.n_features_in_) for head in heads}
    return blocks[ALL] if ALL in blocks else sum(blocks.values())
