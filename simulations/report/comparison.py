"""The combinations of a comparison: learners and conditions, the best first."""

from __future__ import annotations

from dataclasses import dataclass

from simulations.report.facts import ALL, BALANCED, Facts
from simulations.report.numbers import Shown
from simulations.report.titles import FINE_TUNED

COMPARE = "compare"


@dataclass(frozen=True)
class Combination:
    """A learner under a condition.

    Attributes
    ----------
    learner, condition : str
        The condition names backbone and treatment.
    value : Shown
        Its balanced accuracy over all test images.
    tuned : bool
        Whether the learner is a strategy of fine-tuning.
    """

    learner: str
    condition: str
    value: Shown
    tuned: bool = False


def combinations(facts: Facts) -> list[Combination]:
    """List those with a balanced accuracy, the highest first; equal ones in the study's order."""
    heads = [
        (facts.model, condition, learner)
        for learner in facts.study.settings.learners
        for condition in facts.conditions
    ]
    tuned = [
        (cell.model, cell.condition, cell.learner)
        for cell in facts.study.cells
        if cell.model == FINE_TUNED and cell.by == ALL
    ]
    found = []
    for model, condition, learner in (*heads, *tuned):
        shown = facts.shown(facts.cell(model, condition, ALL, ALL, learner), BALANCED)
        if shown is not None and shown.value is not None:
            found.append(Combination(learner, condition, shown, model == FINE_TUNED))
    return sorted(found, key=lambda one: -(one.value.value or 0.0))


def short_condition(facts: Facts, condition: str) -> str:
    """Leave the backbone out of a condition's name where the study has one alone."""
    backbone, comma, treatment = condition.partition(", ")
    alone = facts.study.study == COMPARE and len(facts.study.settings.backbones_used) == 1
    return treatment if alone and comma and backbone == facts.study.settings.backbone else condition
