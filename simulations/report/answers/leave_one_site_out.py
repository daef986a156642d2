"""Does it travel? Tested at a centre that no training image came from."""

from __future__ import annotations

from simulations.report.answers.parts import (
    NO_DIFFERENCE,
    Answer,
    against,
    against_baselines,
    agreement,
    further,
    handing_over,
    lacking_classes,
    lowest_and_highest,
    pooled_too,
    said,
    sorted_out,
    the_head,
)
from simulations.report.facts import ALL, BALANCED, Facts
from simulations.report.numbers import Sentence
from simulations.report.titles import FEDERATED, LOCAL, PERSONALISED, listed

OUT, IN = "site left out", "site takes part"
_ALONE = "Against a model trained on the centre's own images alone"
_ADAPTED = "Adapted to the centre's own images"


def leave_one_site_out(facts: Facts) -> Answer:
    """Compare being tested at a centre never seen with being tested at one that took part."""
    return Answer(
        _verdict(facts),
        said(
            (
                _both(facts),
                _lowest(facts),
                *against_baselines(facts, OUT),
                handing_over(facts, OUT),
                against(facts, (FEDERATED, OUT), (LOCAL, OUT), _ALONE),
                against(facts, (PERSONALISED, OUT), (FEDERATED, OUT), _ADAPTED),
                pooled_too(facts, OUT),
                agreement(facts),
                *further(facts, OUT, " at a centre never seen"),
                lacking_classes(facts, OUT),
            )
        ),
    )


def _verdict(facts: Facts) -> Sentence:
    groups = facts.compared((FEDERATED, OUT), (FEDERATED, IN), "site", BALANCED)
    better, worse, undecided = sorted_out(groups)
    n = len(groups)
    if not groups:
        return ("Being tested at a centre never seen was not compared with taking part.",)
    if not worse:
        verdict = (
            f"No loss could be shown at any of {n} centres when the centre took no part in "
            "training; that does not prove that there is none."
        )
    else:
        start = "No" if len(worse) == n else "Not everywhere"
        verdict = (
            f"{start}: at {len(worse)} of {n} centres its balanced accuracy was lower when the "
            f"centre took no part in training ({listed(worse)})."
        )
    if better:
        verdict += f" It was higher at {listed(better)}."
    if worse and undecided:
        verdict += f" At {listed(undecided)} {NO_DIFFERENCE}."
    return (verdict,)


def _both(facts: Facts) -> Sentence:
    out = facts.value(FEDERATED, OUT, ALL, ALL, BALANCED)
    taking_part = facts.value(FEDERATED, IN, ALL, ALL, BALANCED)
    if out is None:
        return ()
    head = the_head(facts)
    start: Sentence = (
        f"Tested at a centre that it never saw, {head} had a balanced accuracy of ",
        out,
    )
    if taking_part is None:
        return (*start, ".")
    middle: Sentence = (*start, "; at centres that took part in training, ", taking_part)
    overall = facts.compared((FEDERATED, OUT), (FEDERATED, IN), ALL, BALANCED).get(ALL)
    if overall is None:
        return (*middle, ".")
    shown = "" if overall.decided else f": {NO_DIFFERENCE}"
    return (*middle, " (difference ", overall.difference, f"{shown}).")


def _lowest(facts: Facts) -> Sentence:
    sentence = lowest_and_highest(facts, OUT)
    return ("At centres never seen: l" + str(sentence[0])[1:], *sentence[1:]) if sentence else ()
