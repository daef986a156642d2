"""Whether it matters how images are spread over the sites."""

from __future__ import annotations

from simulations.report.answers.parts import Answer, agreement, extremes, further, said, the_head
from simulations.report.facts import ALL, BALANCED, Facts
from simulations.report.numbers import Sentence, Shown
from simulations.report.titles import FEDERATED, POOLED, model_title


def heterogeneity(facts: Facts) -> Answer:
    """Compare partitions of one cohort."""
    models = dict.fromkeys(model for model, _ in facts.series if model != POOLED)
    return Answer(
        _verdict(facts),
        said(
            (
                agreement(facts),
                *(_over_partitions(facts, model) for model in models),
                *further(facts, facts.main_condition, f" under partition {facts.main_condition}"),
            )
        ),
    )


def _verdict(facts: Facts) -> Sentence:
    checks = [one for one in facts.study.exactness if one.learner == facts.learner]
    partitions = len({one.condition for one in checks})
    head = the_head(facts)
    if not checks:
        return (f"{head[0].upper()}{head[1:]} was not held against the pooled fit.",)
    if all(one.differ == 0 for one in checks):
        verdict = (
            f"Under each of {partitions} partitions {head} predicts what one fit on all images "
            "predicts: their spread over sites costs it nothing."
        )
        return (verdict,)
    off = [one.condition for one in checks if one.differ]
    return (
        (
            f"Predictions of {head} differ from those of one fit on all images under {len(off)} of "
            f"{partitions} partitions."
        ),
    )


def _over_partitions(facts: Facts, model: str) -> Sentence:
    values: dict[str, Shown] = {}
    for _, condition in (one for one in facts.series if one[0] == model):
        shown = facts.value(model, condition, ALL, ALL, BALANCED)
        if shown is not None:
            values[condition] = shown
    if len({shown.triple for shown in values.values()}) == 1 and len(values) > 1:
        first = next(iter(values.values()))
        return (f"{_title(model)}: balanced accuracy ", first, " under every partition.")
    sentence = extremes(values, "balanced accuracy", "under")
    return (f"{_title(model)}: l{str(sentence[0])[1:]}", *sentence[1:]) if sentence else ()


def _title(model: str) -> str:
    return "The federated head" if model == FEDERATED else model_title(model).capitalize()
