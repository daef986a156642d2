"""For whom does it fail? Groups by sex, age, localisation and an estimate of skin tone."""

from __future__ import annotations

from simulations.report.answers.parts import (
    Answer,
    agreement,
    further,
    handing_over,
    said,
    the_head,
)
from simulations.report.facts import ALL, BALANCED, Facts
from simulations.report.fairness_tables import confound_of, spread_number
from simulations.report.numbers import Sentence
from simulations.report.schema import Fairness
from simulations.report.titles import FEDERATED, attribute_title, listed

_CAUTION = (
    "Where the interval of a gap begins at 0, the groups may be alike; groups of few lesions "
    "differ by chance."
)


def fairness(facts: Facts) -> Answer:
    """Tell the worst group by each attribute."""
    condition = facts.main_condition
    spreads = [
        one
        for one in facts.study.fairness
        if (one.learner, one.model, one.condition, one.metric)
        == (facts.learner, FEDERATED, condition, BALANCED)
        and one.gap[0] is not None
    ]
    # The surest first: by the end of the interval, not by a value that chance may have made.
    spreads.sort(key=lambda one: -(one.gap[1] or 0.0))
    overall = facts.value(FEDERATED, condition, ALL, ALL, BALANCED)
    start = f"Over all test images, {the_head(facts)} had a balanced accuracy of "
    return Answer(
        _verdict(facts, spreads),
        said(
            (
                () if overall is None else (start, overall, "."),
                *(_worst(facts, one) for one in spreads),
                (_CAUTION,) if spreads else (),
                agreement(facts),
                *further(facts, condition, ""),
                handing_over(facts, condition),
            )
        ),
    )


def _verdict(facts: Facts, spreads: list[Fairness]) -> Sentence:
    if not spreads:
        return ("No attribute has two groups to compare.",)
    widest = spreads[0]
    if not widest.gap[1]:
        names = listed([attribute_title(one.by) for one in spreads])
        return (f"No gap between groups could be shown, be it by {names}.",)
    return (
        f"The clearest gap in balanced accuracy is by {attribute_title(widest.by)}: ",
        spread_number(facts, widest, "gap"),
        f", lowest in {widest.worst_group}.{confound_of(widest.by)}",
    )


def _worst(facts: Facts, one: Fairness) -> Sentence:
    low = one.gap[1]
    if low is None:
        end = "; some group is too small for an interval"
    else:
        end = "" if low > 0 else "; the groups may be alike"
    return (
        f"By {attribute_title(one.by)}: lowest in {one.worst_group}, ",
        spread_number(facts, one, "worst"),
        "; gap to the highest group ",
        spread_number(facts, one, "gap"),
        f"{end}.{confound_of(one.by)}",
    )
