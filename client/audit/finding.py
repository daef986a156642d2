"""What a check reports."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How much a finding matters, worst first."""

    LEAK = "leak"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """Place in the order of severity; 0 is the worst."""
        return list(Severity).index(self)


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Attributes
    ----------
    check : str
        The check's name.
    severity : Severity
        A leak or an error fails the audit, a warning or information does not.
    message : str
        One line: what was found and what to do.
    count : int
        How many of what the message is about: lesions, images, pairs, cells.
    examples : tuple of str
        Which ones, all of them; people are shown the first few.
    """

    check: str
    severity: Severity
    message: str
    count: int
    examples: tuple[str, ...] = ()


def plural(count: int, noun: str) -> str:
    """Write a count with its noun, as ``1 image`` or ``2,000 images``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
