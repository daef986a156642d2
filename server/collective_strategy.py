"""The strategy that sees individual sites: for learners whose answers do not all add up.

Trees and boosters of different sites are put side by side, so that the coordinator sees what each
site has made of its own images. A run whose sums are to be secure must refuse it.
"""

from __future__ import annotations

from common.learners.base import Learner
from common.learners.gathering import Gathering, gather
from server.sum_strategy import SumStrategy


class CollectiveStrategy(SumStrategy):
    """Rounds of sums, and of answers that are merged."""

    def gather(self, learner: Learner, stage: str) -> Gathering:
        """Begin what a stage's answers are gathered in."""
        return gather(learner, stage)
