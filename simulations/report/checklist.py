"""Items of a reporting guideline: what a program can fill, and what a person must."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simulations.report.loading import Run

Fill = Callable[[Sequence[Run]], str]


@dataclass(frozen=True)
class Item:
    """One item.

    Attributes
    ----------
    number : str
        The guideline's own.
    section : str
        The guideline's heading.
    topic : str
        What it asks for, in own words.
    fill : callable or None
        Answers it from the runs; None where only a person can.
    person : str
        What a person must write; empty where the program's answer is whole.
    """

    number: str
    section: str
    topic: str
    fill: Fill | None = None
    person: str = ""


@dataclass(frozen=True)
class Checklist:
    """A guideline.

    Attributes
    ----------
    title : str
        Its name.
    source : str
        Where it is published.
    items : tuple of Item
        All of them, in order.
    """

    title: str
    source: str
    items: tuple[Item, ...]


def checklist_lines(checklist: Checklist, runs: Sequence[Run]) -> list[str]:
    """Write a checklist as Markdown."""
    of_person = sum(1 for item in checklist.items if item.person)
    lines = [
        f"## {checklist.title}",
        "",
        (
            f"{checklist.source} {len(checklist.items)} entries, in own words; a person writes "
            f"{of_person} of them, wholly or in part."
        ),
    ]
    section = ""
    for item in checklist.items:
        if item.section != section:
            section = item.section
            lines += ["", f"### {section}", ""]
        filled = "" if item.fill is None else item.fill(runs)
        person = f"**To be filled by a person:** {item.person}" if item.person else ""
        answer = " ".join(part for part in (filled, person) if part)
        lines.append(f"- **{item.number}. {item.topic}.** {answer}")
    return [*lines, ""]
