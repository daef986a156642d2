"""Which of several backbones, classifiers and treatments of imbalance did best, and how surely."""

from __future__ import annotations

from simulations.report.answers.parts import (
    Answer,
    against,
    against_baselines,
    lacking_classes,
    lowest_and_highest,
    overlap,
    said,
)
from simulations.report.comparison import Combination, combinations
from simulations.report.facts import Facts
from simulations.report.numbers import Sentence
from simulations.report.titles import head_name


def compare(facts: Facts) -> Answer:
    """Tell the best combination, those that it may be no better than, and what it is held to."""
    first = facts.main_condition
    others = [one for one in facts.conditions if one != first]
    return Answer(
        _verdict(facts),
        said(
            (
                *_rest(facts),
                *(
                    against(
                        facts,
                        (facts.model, one),
                        (facts.model, first),
                        f"The {head_name(facts.learner)} with {one}, against {first}",
                    )
                    for one in others
                ),
                *against_baselines(facts, _baseline_condition(facts)),
                _places(facts, first),
                lacking_classes(facts, first),
            )
        ),
    )


def _verdict(facts: Facts) -> Sentence:
    found = combinations(facts)
    if not found:
        return ("There is no test image to compare on.",)
    best = found[0]
    return (
        f"Of {len(found)} combinations, {_named(best)} had the highest balanced accuracy, ",
        best.value,
        ".",
    )


def _rest(facts: Facts) -> tuple[Sentence, ...]:
    """Tell which others may be as good, and what choosing by these images does."""
    found = combinations(facts)
    if len(found) < 2:
        return ()
    best, *others = found
    lowest = others[-1]
    known = all(one.value.has_interval for one in found)
    alike = sum(overlap(best.value, one.value) for one in others)
    overlapping = f" Its interval overlaps with those of {alike} of the {len(others)} others."
    return (
        (f"Lowest is {_named(lowest)}, ", lowest.value, ".", *((overlapping,) if known else ())),
        (
            (
                "Whoever takes the best of several by these numbers takes luck with it: they are "
                "of test images, so that the best one's is too high. Confirm it on images that "
                "had no part in the choice."
            ),
        ),
    )


def _places(facts: Facts, condition: str) -> Sentence:
    sentence = lowest_and_highest(facts, condition)
    if not sentence:
        return ()
    whose = f"The {head_name(facts.learner)} with {condition}"
    return (f"{whose}: l{str(sentence[0])[1:]}", *sentence[1:])


def _named(one: Combination) -> str:
    if one.tuned:
        return f"the network that {one.learner} makes of {one.condition.partition(', ')[0]}"
    return f"the {head_name(one.learner)} with {one.condition}"


def _baseline_condition(facts: Facts) -> str:
    found = [condition for model, condition in facts.series if model != facts.model]
    return found[0] if found else facts.main_condition
