"""Numbers as a page shows them: each tells where it comes from, so that it can be recomputed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from simulations.report.schema import NO_VALUE, Triple

MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Shown:
    """A value with its interval.

    Attributes
    ----------
    triple : tuple of (float or None)
        Value, low and high end.
    where : mapping of str to str
        What tells a program which number this is: ``learner``, ``model``, ``condition``, ``by``,
        ``group``, ``metric``; for others than a cell's metric a ``kind``.
    few : bool
        Whether a class that it rests on has so few lesions that the interval is likely too
        narrow.
    signed : bool
        Whether a plus is written, as for a difference.
    digits : int
        How many stand after the point in a table.
    """

    triple: Triple
    where: Mapping[str, str]
    few: bool = False
    signed: bool = False
    digits: int = 3

    @property
    def value(self) -> float | None:
        """The value alone."""
        return self.triple[0]

    @property
    def has_interval(self) -> bool:
        """Whether there is an interval to show."""
        return self.triple[1] is not None and self.triple[2] is not None


@dataclass(frozen=True)
class Tally:
    """A count, or another single number, that a program can find.

    Attributes
    ----------
    text : str
        As it is shown.
    part : str
        Which part of the thing it is, such as ``lesions``.
    where : mapping of str to str
        As `Shown`.
    """

    text: str
    part: str
    where: Mapping[str, str]


# A sentence is a sequence of texts and numbers.
Sentence = tuple[str | Shown | Tally, ...]


def flipped(triple: Triple) -> Triple:
    """Give the interval of the negative value."""
    value, low, high = triple
    if value is None:
        return NO_VALUE
    return (-value, None if high is None else -high, None if low is None else -low)


def format_number(value: float | None, digits: int = 3, signed: bool = False) -> str:
    """Write a number with a fixed number of digits; a dash where there is none."""
    if value is None:
        return "\N{EN DASH}"
    text = f"{abs(value):.{digits}f}"
    if float(text) == 0.0:
        return text
    if value < 0:
        return f"{MINUS}{text}"
    return f"+{text}" if signed else text


def format_p(p: float | None) -> str:
    """Write a p-value: two digits that count, never below what 1,000 draws can tell."""
    if p is None:
        return "\N{EN DASH}"
    return f"{p:.3f}" if p >= 0.001 else "<0.001"


def count(number: float) -> str:
    """Write a count with commas between thousands."""
    return f"{number:,.0f}"
