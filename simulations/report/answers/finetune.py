"""One fine-tuning run over simulated sites."""

from __future__ import annotations

from simulations.report.answers.parts import (
    Answer,
    against,
    further,
    handing_over,
    lacking_classes,
    lowest_and_highest,
    said,
    the_head,
)
from simulations.report.facts import ALL, BALANCED, Facts
from simulations.report.numbers import Sentence
from simulations.report.titles import FROZEN


def finetune(facts: Facts) -> Answer:
    """Tell how well the fine-tuned network does, where worst, and against the frozen head."""
    condition = facts.main_condition
    return Answer(
        _verdict(facts),
        said(
            (
                _beside(facts),
                against(
                    facts,
                    (facts.model, condition),
                    (FROZEN, condition),
                    "Fine-tuned against the frozen head",
                ),
                lowest_and_highest(facts, condition),
                *further(facts, condition, ""),
                handing_over(facts, condition),
                lacking_classes(facts, condition),
            )
        ),
    )


def _verdict(facts: Facts) -> Sentence:
    value = facts.value(facts.model, facts.main_condition, ALL, ALL, BALANCED)
    if value is None:
        return (f"There is no test image to measure {the_head(facts)} on.",)
    return (
        f"Fine-tuned over the sites together, {the_head(facts)} had a balanced accuracy of ",
        value,
        " on test images of the same sites.",
    )


def _beside(facts: Facts) -> Sentence:
    value = facts.value(FROZEN, facts.main_condition, ALL, ALL, BALANCED)
    if value is None:
        return ()
    return ("The exact head on frozen features, which it began with, had ", value, ".")
