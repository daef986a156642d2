"""Fine-tuning by strategy, beside pooled images, each site alone and frozen features."""

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
from simulations.report.titles import FINE_TUNED, FROZEN, LOCAL_NETWORK, POOLED_NETWORK, head_name

_AGAINST = {
    POOLED_NETWORK: "Against a network fine-tuned on all images in one place, in as many steps",
    LOCAL_NETWORK: "Against the network that each site fine-tunes alone",
    FROZEN: "Against the exact head on frozen features, which it began with",
}


def fine_tuning(facts: Facts) -> Answer:
    """Compare the strategy that validation chose with what fine-tuning together must beat."""
    condition = facts.main_condition
    tuned = (FINE_TUNED, condition)
    return Answer(
        _verdict(facts),
        said(
            (
                _chosen(facts),
                *(
                    against(facts, tuned, (other, condition), text)
                    for other, text in _AGAINST.items()
                ),
                lowest_and_highest(facts, condition),
                *further(facts, condition, ""),
                handing_over(facts, condition),
                lacking_classes(facts, condition),
            )
        ),
    )


def _verdict(facts: Facts) -> Sentence:
    condition = facts.main_condition
    value = facts.value(facts.model, condition, ALL, ALL, BALANCED)
    pooled = facts.value(POOLED_NETWORK, condition, ALL, ALL, BALANCED)
    if value is None:
        return (f"There is no test image to measure {the_head(facts)} on.",)
    where = "at a centre never seen" if facts.study.study.endswith("left-out") else "at all sites"
    start: Sentence = (f"Tested {where}, {the_head(facts)} had a balanced accuracy of ", value)
    if pooled is None:
        return (*start, ".")
    return (*start, "; one fine-tuned on all images in one place had ", pooled, ".")


def _chosen(facts: Facts) -> Sentence:
    """Say how the strategy was chosen, where there were several."""
    names = facts.study.settings.learners
    if len(names) < 2:
        return ()
    chosen = head_name(facts.learner)
    return (f"Of {len(names)} strategies, validation images, not test images, chose the {chosen}.",)
