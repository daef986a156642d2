"""Learners side by side, each of which learns from some of a site's images.

Their sums are over fewer images than a contribution counts: beside them travels ``images``, how
many of its own a site has summed over for each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from common.errors import ContributionError
from common.learners.base import Arrays, ArraySpec, Contribution, SiteData, State
from common.learners.checked import check_arrays
from common.learners.ensemble.together import Together

if TYPE_CHECKING:
    from numpy.typing import NDArray

_IMAGES = "images"


class SomeRows(Together, ABC):
    """Rounds of several learners at once, each with images of its own."""

    # What a member's images are called, for messages.
    what = "member"

    @abstractmethod
    def _rows(self, number: int, own: str, data: SiteData, state: State) -> NDArray[np.intp]:
        """Tell which of a site's images a member sees in its stage `own`, as positions."""

    def verify(self, stage: str, contribution: Contribution) -> None:
        """Refuse a part of more images than there are, or sums that no images can have."""
        for number, own in self._asked(stage):
            part = self._of(number, own, contribution)
            if part.count > contribution.count:
                raise ContributionError(f"{self.what} {number}: holds more images than there are")
            check_arrays(part.arrays, self.learners[number].contribution_spec(own), part.count)
            self.learners[number].verify(own, part)

    def _answer(self, number: int, own: str, data: SiteData, state: State) -> Arrays:
        rows = self._rows(number, own, data, state)
        fold = None if data.fold is None else data.fold[rows]
        part = SiteData(data.x[rows], data.y[rows], fold, data.minimum)
        sums = super()._answer(number, own, part, state)
        return {**sums, _IMAGES: np.array([len(part)], dtype=np.int64)}

    def _of(self, number: int, own: str, contribution: Contribution) -> Contribution:
        found = super()._of(number, own, contribution)
        arrays = {name: array for name, array in found.arrays.items() if name != _IMAGES}
        return Contribution(int(found.arrays[_IMAGES][0]), arrays)

    def _member_spec(self, kind: str, number: int, own: str) -> Mapping[str, ArraySpec]:
        spec = super()._member_spec(kind, number, own)
        if kind == "state_spec":
            return spec
        # They count the part's images, not all; `verify` compares the two.
        fewer = {name: replace(one, times_counted=0) for name, one in spec.items()}
        return {**fewer, _IMAGES: ArraySpec((1,), "int64", minimum=0)}
