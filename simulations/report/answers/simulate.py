"""One federation over simulated sites."""

from __future__ import annotations

from simulations.report.answers.parts import (
    Answer,
    against_baselines,
    agreement,
    further,
    handing_over,
    lacking_classes,
    lowest_and_highest,
    pooled_too,
    said,
    the_head,
)
from simulations.report.facts import ALL, BALANCED, Facts
from simulations.report.numbers import Sentence


def simulate(facts: Facts) -> Answer:
    """Tell how well one federation's model does, and where worst."""
    condition = facts.main_condition
    return Answer(
        _verdict(facts),
        said(
            (
                lowest_and_highest(facts, condition),
                *against_baselines(facts, condition),
                pooled_too(facts, condition),
                agreement(facts),
                *further(facts, condition, ""),
                handing_over(facts, condition),
                lacking_classes(facts, condition),
            )
        ),
    )


def _verdict(facts: Facts) -> Sentence:
    value = facts.value(facts.model, facts.main_condition, ALL, ALL, BALANCED)
    head = the_head(facts)
    if value is None:
        return (f"There is no test image to measure {head} on.",)
    return (
        f"Trained over the sites together, {head} had a balanced accuracy of ",
        value,
        " on test images of the same sites.",
    )
