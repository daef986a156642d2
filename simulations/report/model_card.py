"""The model card: what was trained, on what, how well by site, its limits, and two checklists."""

from __future__ import annotations

from collections.abc import Sequence

from common.metrics import describe
from simulations.report import card_facts
from simulations.report.answers import answer
from simulations.report.card_facts import interval, plain
from simulations.report.checklist import checklist_lines
from simulations.report.clear_derm import CLEAR_DERM
from simulations.report.facts import Facts
from simulations.report.loading import Run
from simulations.report.numbers import Sentence, Shown, Tally, count
from simulations.report.panels.view import group_label, sites_and_all
from simulations.report.tripod_ai import TRIPOD_AI


def model_card(runs: Sequence[Run]) -> str:
    """Write a model card in Markdown, after Mitchell et al., "Model cards", FAT* 2019.

    Parameters
    ----------
    runs : sequence of Run
        The runs that it is filled from, one or more.
    """
    lines = [
        "# Model card: federated skin-lesion classifier",
        "",
        (
            "Written by a program from run folders. It fills what a program can know; what a "
            'person has to add is marked "To be filled by a person".'
        ),
        "",
        *_details(runs),
        *_use(),
        *_data(runs),
    ]
    for run in runs:
        name = run.study.study
        lines += _results(run, name if len(runs) == 1 else f"{name} ({plain(run.folder.name)})")
    lines += _limits()
    for checklist in (TRIPOD_AI, CLEAR_DERM):
        lines += checklist_lines(checklist, runs)
    return "\n".join(lines).rstrip() + "\n"


def _details(runs: Sequence[Run]) -> list[str]:
    backbones = dict.fromkeys(plain(run.study.settings.backbone) for run in runs)
    return [
        "## Model details",
        "",
        f"- Backbone: {', '.join(backbones)}, frozen, weights from ImageNet.",
        f"- Heads: {card_facts.learners(runs)}, learned over sites by exact sums.",
        f"- {card_facts.exactness(runs)}",
        f"- {card_facts.split(runs)}",
        f"- Versions: {card_facts.software(runs)}",
        "",
    ]


def _use() -> list[str]:
    return [
        "## Intended use",
        "",
        (
            "Research on federated learning. Not a medical device: it must not be used to "
            "diagnose, to triage or to reassure anybody."
        ),
        "",
    ]


def _data(runs: Sequence[Run]) -> list[str]:
    return [
        "## Data",
        "",
        f"- {card_facts.cohorts(runs)}",
        f"- {card_facts.classes(runs)}",
        f"- {card_facts.class_counts(runs)}",
        f"- {card_facts.test_sizes(runs)}",
        "",
    ]


def _results(run: Run, title: str) -> list[str]:
    facts = Facts(run.study)
    found = answer(facts)
    titles = [describe(metric).title for metric in facts.metrics]
    lines = [
        f"## Results: {title}",
        "",
        f"{plain(run.study.question)} **{_spoken(found.verdict)}**",
        "",
        *(f"- {_spoken(sentence)}" for sentence in found.sentences),
        "",
        (
            f"The federated {plain(facts.learner)} head, {plain(facts.main_condition)}, by site. "
            f"{card_facts.draws([run])}"
        ),
        "",
        f"| site | lesions | {' | '.join(plain(title) for title in titles)} |",
        f"|---|---|{'---|' * len(titles)}",
    ]
    for by, group in sites_and_all(facts):
        cell = facts.cell(facts.model, facts.main_condition, by, group)
        if cell is None:
            continue
        values = [interval(facts.shown(cell, metric)) for metric in facts.metrics]
        label = plain(group_label(by, group))
        lines.append(f"| {label} | {count(cell.lesions)} | {' | '.join(values)} |")
    return [*lines, ""]


def _spoken(sentence: Sentence) -> str:
    return "".join(_piece(piece) for piece in sentence)


def _piece(piece: str | Shown | Tally) -> str:
    if isinstance(piece, Shown):
        return interval(piece)
    return _kept(piece.text if isinstance(piece, Tally) else piece)


def _kept(text: str) -> str:
    """Make a text harmless as `plain`, keeping the blanks at its ends: pieces are joined."""
    start = " " if text[:1].isspace() else ""
    end = " " if text[-1:].isspace() and text.strip() else ""
    return f"{start}{plain(text)}{end}"


def _limits() -> list[str]:
    return [
        "## Limits",
        "",
        "- Intervals hold for the models as trained: training was not repeated on resamples.",
        (
            "- Sites differ in device, population and diagnoses at once; a loss at a site does not "
            "tell which of these caused it."
        ),
        (
            "- Groups may lack images of a class. Their balanced accuracy is over the other "
            "classes and compares with that of other groups only roughly."
        ),
        "- Rare classes rest on few lesions.",
        (
            "- Probabilities come from training that weighs classes alike; they are not risks at a "
            "clinic's own prevalence."
        ),
        (
            "- Every test image shows a lesion of a known class; what happens with others was not "
            "tested."
        ),
        "- No person read these images for comparison.",
        "",
    ]
