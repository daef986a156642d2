"""What a head's own learner is, behind the front that prepares its features."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from common.learners.base import Arrays, ArraySpec, Contribution, State
from common.learners.front import Rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Step(Protocol):
    """Rounds of sums over transformed features; one file each.

    A step's states carry its own arrays only; `fitted` holds those of the front, which sites and
    the coordinator have beside them.
    """

    stages: tuple[str, ...]

    @property
    def most_rounds(self) -> int:
        """The rounds that it takes at most: it is done then, or has failed."""

    def start(self, fitted: Arrays) -> State:
        """Give the state before the step's first round."""

    def state_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Tell which arrays of its own a state of this stage carries."""

    def contribution_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Tell which arrays a contribution to this stage carries."""

    def verify(self, stage: str, contribution: Contribution) -> None:
        """Refuse one site's sums that no images can have."""

    def contribute(self, rows: Iterable[Rows], state: State, fitted: Arrays) -> Arrays:
        """Sum over a site's images."""

    def update(self, state: State, total: Contribution, fitted: Arrays) -> State:
        """Take one step; once done, the arrays are ``coef`` and ``intercept``."""


@runtime_checkable
class IterativeStep(Step, Protocol):
    """A step that can start elsewhere than at zero; its solution is the same."""

    initial: NDArray[np.float64] | None
