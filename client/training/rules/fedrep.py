"""FedRep: the head first, then the trunk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from client.training.rules.base import LocalRule
from common.finetuning.strategies import CLASSIFIER

if TYPE_CHECKING:
    from client.training.rules.base import LocalRun
    from common.finetuning.strategies import RepresentationSettings


class Representation(LocalRule):
    """FedRep's site (Collins et al., ICML 2021, algorithm 1, client's part).

    The first steps train the classifier with the trunk as it came, the others the trunk with the
    classifier as it is then. What is not trained has no gradient, and so neither momentum nor
    weight decay moves it. At least one step trains either part. All steps train the classifier
    where the phase trains nothing else, and a round of one step trains both parts.

    Parameters
    ----------
    settings : RepresentationSettings
        The share of the steps that train the classifier.
    """

    def __init__(self, settings: RepresentationSettings) -> None:
        self._settings = settings

    def correct(self, run: LocalRun) -> None:
        """As `LocalRule.correct`."""
        if run.steps == 1 or all(name.startswith(CLASSIFIER) for name in run.parameters):
            return
        first = min(max(round(self._settings.head_share * run.steps), 1), run.steps - 1)
        trains_head = run.step < first
        for name, parameter in run.parameters.items():
            if name.startswith(CLASSIFIER) != trains_head:
                parameter.grad = None
