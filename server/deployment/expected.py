"""How long a run is, as far as its settings tell."""

from __future__ import annotations

from dataclasses import dataclass

from common.backbones import get_backbone
from common.finetuning.check import check_finetuning
from common.finetuning.plan import total_rounds
from common.learners import make_learner
from common.metadata import read_fusion
from common.settings import RunSettings

# Of no consequence for the rounds; no coordinator knows the classes before the sites have joined.
_CLASSES = ("a", "b")


@dataclass(frozen=True)
class Expected:
    """What is to come.

    Attributes
    ----------
    rounds : int or None
        Rounds of the learner, or of fine-tuning; None where the sums tell when it is done.
    stages : tuple of str
        The stages that a learner may go through, in their order; none of fine-tuning.
    most : int or None
        Rounds of the learner at most; None where nothing bounds them.
    """

    rounds: int | None
    stages: tuple[str, ...]
    most: int | None = None

    @property
    def total(self) -> str:
        """What stands behind the number of a round: of how many it is."""
        if self.rounds is not None:
            return f" of {self.rounds}"
        return "" if self.most is None else f" of at most {self.most}"

    def place(self, stage: str) -> str:
        """Tell which of the stages one is, or nothing where there is one only."""
        if len(self.stages) < 2 or stage not in self.stages:
            return ""
        return f"stage {self.stages.index(stage) + 1} of {len(self.stages)}"


def expected(settings: RunSettings) -> Expected:
    """Tell what a run's settings say of its length.

    Raises
    ------
    SettingsError
        If a setting is wrong.
    """
    if settings.strategy:
        return Expected(total_rounds(check_finetuning(settings)), ())
    fusion = read_fusion(settings.metadata)
    problem = fusion.problem(_CLASSES, get_backbone(settings.backbone).dimension)
    learner = make_learner(settings.learner, problem, settings.learner_settings)
    return Expected(learner.rounds, learner.stages, learner.most_rounds)
