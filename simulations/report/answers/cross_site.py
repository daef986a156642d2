"""What a centre's own images are worth elsewhere: trained at one, tested at each."""

from __future__ import annotations

from simulations.report.answers.parts import (
    NO_DIFFERENCE,
    Answer,
    agreement,
    extremes,
    further,
    lacking_classes,
    lowest_and_highest,
    said,
    sorted_out,
    the_head,
)
from simulations.report.facts import ALL, BALANCED, Facts
from simulations.report.numbers import Sentence, Shown
from simulations.report.titles import FEDERATED, LOCAL, listed

TOGETHER = "trained at all sites"


def trained_at(site: str) -> str:
    """Name the condition of training at one site alone."""
    return f"trained at {site}"


def cross_site(facts: Facts) -> Answer:
    """Compare training together with training alone, at home and elsewhere."""
    together = facts.value(FEDERATED, TOGETHER, ALL, ALL, BALANCED)
    return Answer(
        _verdict(facts),
        said(
            (
                ()
                if together is None
                else (
                    (
                        f"Trained at all centres together, {the_head(facts)} had a balanced "
                        "accuracy of "
                    ),
                    together,
                    ".",
                ),
                lowest_and_highest(facts, TOGETHER),
                _matrix(facts, at_home=True),
                _matrix(facts, at_home=False),
                agreement(facts),
                *further(facts, TOGETHER, ""),
                lacking_classes(facts, TOGETHER),
            )
        ),
    )


def _verdict(facts: Facts) -> Sentence:
    alone = {}
    for site in facts.groups("site"):
        groups = facts.compared((FEDERATED, TOGETHER), (LOCAL, trained_at(site)), "site", BALANCED)
        if site in groups:
            alone[site] = groups[site]
    if not alone:
        return ("Training together was not compared with training at one centre alone.",)
    better, worse, undecided = sorted_out(alone)
    n = len(alone)
    if better:
        verdict = (
            f"Training together did better than a centre's own images alone at {len(better)} of "
            f"{n} centres ({listed(better)})."
        )
    else:
        verdict = (
            "No gain of training together over a centre's own images alone could be shown at any "
            f"of {n} centres."
        )
    if worse:
        verdict += f" It did worse at {listed(worse)}."
    if better and undecided:
        verdict += f" At {listed(undecided)} {NO_DIFFERENCE}."
    return (verdict,)


def _matrix(facts: Facts, *, at_home: bool) -> Sentence:
    sites = facts.groups("site")
    values: dict[str, Shown] = {}
    for home in sites:
        for site in sites:
            shown = facts.value(LOCAL, trained_at(home), "site", site, BALANCED)
            if shown is not None and (home == site) == at_home:
                values[site if at_home else f"trained at {home}, tested at {site}"] = shown
    sentence = extremes(values, "balanced accuracy", "at" if at_home else "where")
    where = (
        "Trained at one centre alone and tested at that same centre"
        if at_home
        else "Trained at one centre alone and tested at another"
    )
    return (f"{where}: l{str(sentence[0])[1:]}", *sentence[1:]) if sentence else ()
