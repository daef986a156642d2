"""How much is enough: more images a site, or more sites."""

from __future__ import annotations

from simulations.report.answers.parts import (
    Answer,
    agreement,
    extremes,
    further,
    overlap,
    overlap_note,
    said,
    the_head,
)
from simulations.report.facts import ALL, BALANCED, Facts
from simulations.report.numbers import Sentence, Shown
from simulations.report.scales import IMAGES, SITES, conditions_on
from simulations.report.titles import FEDERATED


def learning_curve(facts: Facts) -> Answer:
    """Compare the least with the most, and one site with all."""
    limits = _values(facts, IMAGES)
    whole = facts.value(FEDERATED, facts.main_condition, ALL, ALL, BALANCED)
    alone = {name: shown for x, name, shown in _values(facts, SITES) if x == 1}
    return Answer(
        _verdict(facts, limits, alone, whole),
        said(
            (
                _rise(limits),
                () if whole is None else ("With all images of all sites: ", whole, "."),
                _single(alone),
                agreement(facts),
                *further(facts, facts.main_condition, ""),
            )
        ),
    )


_Point = tuple[float, str, Shown]


def _values(facts: Facts, scale: str) -> list[_Point]:
    return [
        (x, condition, shown)
        for x, condition in conditions_on(facts, scale)
        if (shown := facts.value(FEDERATED, condition, ALL, ALL, BALANCED)) is not None
    ]


def _verdict(
    facts: Facts, limits: list[_Point], alone: dict[str, Shown], whole: Shown | None
) -> Sentence:
    """Claim a gain only where the intervals of least and most are apart."""
    head = the_head(facts)
    said = []
    if len(limits) > 1:
        gain = _above(limits[-1][2], limits[0][2])
        end = "got better" if gain else "could not be shown to get better"
        said.append(f"With more images a site, {head} {end}.")
    if alone and whole is not None:
        best = max(alone.values(), key=lambda shown: shown.value or 0.0)
        end = "is better than" if _above(whole, best) else "could not be shown to be better than"
        said.append(f"Learning from all sites {end} learning from the best single one.")
    return (" ".join(said) or "There are too few points for a curve.",)


def _above(a: Shown, b: Shown) -> bool:
    return not overlap(a, b) and (a.value or 0.0) > (b.value or 0.0)


def _rise(limits: list[_Point]) -> Sentence:
    if len(limits) < 2:
        return ()
    (fewest, _, first), (most, _, last) = limits[0], limits[-1]
    note = overlap_note(first, last)
    return (
        f"From {fewest:g} to {most:g} images a site, balanced accuracy went from ",
        first,
        " to ",
        last,
        f".{note}",
    )


def _single(alone: dict[str, Shown]) -> Sentence:
    sentence = extremes(alone, "balanced accuracy", "with")
    if not sentence:
        return ()
    return (f"Learned from one site alone, tested at all: l{str(sentence[0])[1:]}", *sentence[1:])
