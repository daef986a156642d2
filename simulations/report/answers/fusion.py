"""What metadata add to images, and how much of it the site would add."""

from __future__ import annotations

from simulations.report.answers.parts import (
    Answer,
    against_baselines,
    agreement,
    further,
    said,
    the_head,
)
from simulations.report.facts import ALL, BALANCED, Facts
from simulations.report.numbers import Sentence, Shown
from simulations.report.panels.gains import gain_number, gains_of
from simulations.report.titles import FEDERATED

_AUC = "macro_auc"
_IMAGES, _LATE = "images alone", "images and metadata, late"


def fusion(facts: Facts) -> Answer:
    """Tell the gain over images alone, and the site's part in it."""
    condition = facts.main_condition
    return Answer(
        _verdict(facts, condition),
        said(
            (
                _site(facts),
                _late(facts),
                *against_baselines(facts, condition),
                agreement(facts),
                *further(facts, condition, ""),
            )
        ),
    )


def _verdict(facts: Facts, condition: str) -> Sentence:
    alone, fused = (facts.value(FEDERATED, one, ALL, ALL, BALANCED) for one in (_IMAGES, condition))
    gain = next(iter(gains_of(facts, BALANCED)), None)
    if alone is None or fused is None or gain is None:
        return ("No balanced accuracy with and without metadata can be compared.",)
    shown = gain_number(gain, "gain")
    return (
        (
            f"With age, sex and localisation, balanced accuracy of {the_head(facts)} over all test "
            "images is "
        ),
        fused,
        "; with images alone, ",
        alone,
        ": a difference of ",
        shown,
        f"{_decided(shown)}.",
    )


def _site(facts: Facts) -> Sentence:
    ranked = next(iter(gains_of(facts, _AUC)), None)
    if ranked is None:
        return ()
    gain, site, rest, share = (
        gain_number(ranked, kind) for kind in ("gain", "site_gain", "remaining", "share")
    )
    end: Sentence = (
        ("The site's share of the gain is ", share, ".")
        if share.value is not None
        else ("No gain is sure, so no share of it is told.",)
    )
    return (
        "In AUC, metadata add ",
        gain,
        " to images alone, and the name of the site ",
        site,
        "; to images and that name, metadata add ",
        rest,
        ". ",
        *end,
    )


def _late(facts: Facts) -> Sentence:
    late = facts.value(FEDERATED, _LATE, ALL, ALL, BALANCED)
    return () if late is None else ("Fused late, balanced accuracy is ", late, ".")


def _decided(shown: Shown) -> str:
    _, low, high = shown.triple
    if low is None or high is None:
        return ""
    return "" if low > 0 or high < 0 else ", which may be chance"
