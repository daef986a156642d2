"""Sentences that several studies say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from common.metrics import describe
from simulations.report.curve_numbers import risk_number
from simulations.report.facts import ALL, BALANCED, MALIGNANT, Compared, Facts
from simulations.report.numbers import Sentence, Shown, Tally, count
from simulations.report.titles import MAJORITY, POOLED, SHORTCUT, head_name, listed

NO_DIFFERENCE = "no difference could be shown"


@dataclass(frozen=True)
class Answer:
    """What a study found, in words.

    Attributes
    ----------
    verdict : Sentence
        The shortest answer to the study's question.
    sentences : tuple of Sentence
        What it rests on.
    """

    verdict: Sentence
    sentences: tuple[Sentence, ...]

    @property
    def few(self) -> bool:
        """Whether a number in it is marked as resting on few lesions."""
        pieces = (piece for one in (self.verdict, *self.sentences) for piece in one)
        return any(isinstance(piece, Shown) and piece.few for piece in pieces)


def the_head(facts: Facts) -> str:
    """Name the federated model of the first learner."""
    return f"the federated {head_name(facts.learner)}"


def lowest_and_highest(
    facts: Facts, condition: str, metric: str = BALANCED, by: str = "site"
) -> Sentence:
    """Say where the federated model is worst and best; empty with fewer than two groups."""
    values = {
        group: shown
        for group in facts.groups(by)
        if (shown := facts.value(facts.model, condition, by, group, metric)) is not None
    }
    return extremes(values, describe(metric).title)


def extremes(values: Mapping[str, Shown], title: str, at: str = "at") -> Sentence:
    """Say which of several numbers is lowest and which highest, and whether intervals overlap.

    Parameters
    ----------
    values : mapping of str to Shown
        The numbers by place.
    title : str
        What they measure.
    at : str
        What ties a number to its place.
    """
    if len(values) < 2:
        return ()
    low = min(values, key=lambda name: values[name].value or 0.0)
    high = max(values, key=lambda name: values[name].value or 0.0)
    note = overlap_note(values[low], values[high])
    return (
        f"Lowest {title} {at} {low}, ",
        values[low],
        f"; highest {at} {high}, ",
        values[high],
        f".{note}",
    )


def overlap(a: Shown, b: Shown) -> bool:
    """Tell whether two intervals overlap; intervals that are not there are taken to."""
    (_, a_low, a_high), (_, b_low, b_high) = a.triple, b.triple
    if a_low is None or a_high is None or b_low is None or b_high is None:
        return True
    return a_low <= b_high and b_low <= a_high


def overlap_note(a: Shown, b: Shown) -> str:
    """Say that two intervals overlap, where there are two and they do."""
    both = a.has_interval and b.has_interval
    return " The two intervals overlap." if both and overlap(a, b) else ""


def sorted_out(groups: Mapping[str, Compared]) -> tuple[list[str], list[str], list[str]]:
    """Give the groups in which the first model is better, worse, and not shown to be either."""
    decided = {name: one.difference.value or 0.0 for name, one in groups.items() if one.decided}
    return (
        [name for name, value in decided.items() if value > 0],
        [name for name, value in decided.items() if value < 0],
        [name for name in groups if name not in decided],
    )


def against(
    facts: Facts,
    a: tuple[str, str],
    b: tuple[str, str],
    start: str,
    metric: str = BALANCED,
) -> Sentence:
    """Say how one model does against another; empty where the study does not compare them."""
    overall = facts.compared(a, b, ALL, metric).get(ALL)
    by_site = facts.compared(a, b, "site", metric)
    if overall is None and not by_site:
        return ()
    pieces: list[str | Shown | Tally] = [start]
    if overall is not None and overall.difference.value is not None:
        decided = "" if overall.decided else f", so {NO_DIFFERENCE}"
        pieces += [
            ": ",
            overall.difference,
            f" in {describe(metric).title} over all test images{decided}",
        ]
    if by_site:
        separate = ". By centre" if len(pieces) > 1 else ", by centre"
        pieces.append(f"{separate} (corrected for {len(by_site)}): {by_group(by_site)}")
    return (*pieces, ".")


def by_group(groups: Mapping[str, Compared]) -> str:
    """Say in which groups a difference is shown and in which not."""
    better, worse, undecided = sorted_out(groups)
    said = [
        f"{word} at {listed(names)}"
        for word, names in (("better", better), ("worse", worse))
        if names
    ]
    if undecided:
        where = "any" if not said else listed(undecided)
        said.append(f"{NO_DIFFERENCE} at {where}")
    return "; ".join(said)


def against_baselines(facts: Facts, condition: str) -> tuple[Sentence, ...]:
    """Say how the federated model does against those that look at no image."""
    whats = {
        SHORTCUT: "predicting from site, age, sex and localisation alone",
        MAJORITY: "always predicting the most frequent class",
    }
    said = []
    for model, what in whats.items():
        sentence = against(facts, (facts.model, condition), (model, condition), f"Against {what}")
        if not sentence:
            # Not compared, but told: the reader sees both intervals.
            value = facts.value(model, condition, ALL, ALL, BALANCED)
            sentence = () if value is None else (f"{what.capitalize()} gives ", value, ".")
        said.append(sentence)
    return tuple(said)


def agreement(facts: Facts) -> Sentence:
    """Say in how many predictions the federated model and the pooled fit agree."""
    checks = [one for one in facts.study.exactness if one.learner == facts.learner]
    if not checks:
        return ()
    total, differ = sum(c.predictions for c in checks), sum(c.differ for c in checks)
    where = {"kind": "exactness", "learner": facts.learner}
    return (
        (
            "Federated and pooled training (scikit-learn, all images in one place) gave the same "
            "prediction in "
        ),
        Tally(count(total - differ), "same", where),
        " of ",
        Tally(count(total), "predictions", where),
        " cases.",
    )


def further(facts: Facts, condition: str, where: str) -> tuple[Sentence, ...]:
    """Say what holds for melanoma and for malignancy, where the classes allow it."""
    said: list[Sentence] = []
    for metric in facts.metrics:
        value = facts.value(facts.model, condition, ALL, ALL, metric)
        if metric == BALANCED or value is None:
            continue
        if metric == MALIGNANT:
            start = f"Malignant images are ranked above benign ones{where} with an AUC of "
            end = "."
        else:
            label = metric.partition(":")[2]
            name = "melanoma" if label == "mel" else label
            start = f"Of the {name} images{where} it finds a share of "
            end = f" when at most 5% of other images are called {name}."
        places = lowest_and_highest(facts, condition, metric)
        said.append((start, value, end, *((" ", *places) if places else ())))
    return tuple(said)


def handing_over(facts: Facts, condition: str) -> Sentence:
    """Say how often the model is wrong where it is surest, against everywhere."""
    cell = facts.cell(facts.model, condition, ALL, ALL)
    if cell is None or cell.curves is None:
        return ()
    half, whole = (risk_number(cell, cell.curves, coverage) for coverage in (0.5, 1.0))
    if half.value is None or whole.value is None:
        return ()
    return (
        (
            "If it decides only the half of images that it is surest of and hands the rest to a "
            "person, it is wrong in a share of "
        ),
        half,
        "; if it decides all, of ",
        whole,
        ".",
    )


def lacking_classes(facts: Facts, condition: str) -> Sentence:
    """Say which centres have no test image of some class: their means are over fewer classes."""
    lacking = []
    for group in facts.groups("site"):
        cell = facts.cell(facts.model, condition, "site", group)
        if cell is not None and cell.absent:
            lacking.append(f"{group} ({', '.join(cell.absent)})")
    if not lacking:
        return ()
    return (
        (
            f"Some centres have no test image of some class: {listed(lacking)}. Their balanced "
            "accuracy is over the other classes, so it compares with that of other centres only "
            "roughly."
        ),
    )


def said(sentences: Sequence[Sentence]) -> tuple[Sentence, ...]:
    """Leave out what there is nothing to say of."""
    return tuple(sentence for sentence in sentences if sentence)


def pooled_too(facts: Facts, condition: str) -> Sentence:
    """Tell the pooled fit's value where the federated one is not the same."""
    value = facts.value(POOLED, condition, ALL, ALL, BALANCED)
    if value is None or facts.federated_is_pooled:
        return ()
    return ("The pooled fit has a balanced accuracy of ", value, ".")
