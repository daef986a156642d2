"""Which settings are tried, as text: ``trees=50|100;min_leaf=1..20..4``."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from common.errors import SettingsError

MOST_CANDIDATES = 100
_TRIES = 100
_MOST_STEPS = 1000


@dataclass(frozen=True)
class Range:
    """Numbers evenly spread on a logarithmic scale.

    Attributes
    ----------
    low, high : float
        The ends, both included.
    count : int
        How many a grid takes; 0 for a range to draw from.
    """

    low: float
    high: float
    count: int = 0

    def grid(self, *, whole: bool) -> list[str]:
        """Write the numbers of a grid, each once."""
        values = np.geomspace(self.low, self.high, self.count).tolist()
        return list(dict.fromkeys(_written(value, whole=whole) for value in values))

    def draw(self, rng: np.random.Generator, *, whole: bool) -> str:
        """Draw a number, and write it."""
        value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
        return _written(value, whole=whole)


Values = tuple[str, ...] | Range


def parse_space(text: str) -> dict[str, Values]:
    """Read ``name=values;name=values``.

    Values are texts with ``|`` between them, or a range: ``LOW..HIGH..COUNT`` of a grid,
    ``LOW..HIGH`` to draw from.

    Raises
    ------
    SettingsError
        Naming what is not of that form.
    """
    space: dict[str, Values] = {}
    for item in text.split(";"):
        name, sign, value = item.partition("=")
        if not (sign and name and value) or name in space:
            raise SettingsError(
                f"learner settings: space {item!r} is not name=values, as trees=50|100, each once"
            )
        space[name] = _range(value) if ".." in value else tuple(value.split("|"))
        if "" in value.split("|"):
            raise SettingsError(f"learner settings: space {item!r}: a value is missing")
    return space


def grid(space: Mapping[str, Values], whole: Sequence[str]) -> list[dict[str, str]]:
    """Give every combination, the last setting changing first.

    Parameters
    ----------
    space : mapping of str to Values
        From `parse_space`.
    whole : sequence of str
        Settings that are whole numbers.

    Raises
    ------
    SettingsError
        If a range has no count, or there are too many combinations.
    """
    values = []
    for name, tried in space.items():
        if isinstance(tried, Range):
            if not tried.count:
                raise SettingsError(
                    f"learner settings: space {name}: a grid wants a count, as "
                    f"{tried.low:g}..{tried.high:g}..4"
                )
            tried = tuple(tried.grid(whole=name in whole))
        values.append(tried)
    number = math.prod(map(len, values))
    if number > MOST_CANDIDATES:
        raise SettingsError(
            f"learner settings: space has {number} combinations; {MOST_CANDIDATES} at most, or "
            "search=random"
        )
    return [dict(zip(space, one, strict=True)) for one in product(*values)]


def draws(
    space: Mapping[str, Values], whole: Sequence[str], number: int, seed: int
) -> list[dict[str, str]]:
    """Draw combinations, each at most once: fewer where there are no more.

    Parameters
    ----------
    space, whole
        As `grid`.
    number : int
        How many.
    seed : int
        What is drawn by.

    Raises
    ------
    SettingsError
        If a range has a count.
    """
    counted = [name for name, values in space.items() if isinstance(values, Range) and values.count]
    if counted:
        raise SettingsError(
            f"learner settings: space {counted[0]}: a random search draws; give LOW..HIGH"
        )
    rng = np.random.default_rng(seed)
    found: list[dict[str, str]] = []
    for _ in range(_TRIES * number):
        drawn = {
            name: values.draw(rng, whole=name in whole)
            if isinstance(values, Range)
            else values[int(rng.integers(len(values)))]
            for name, values in space.items()
        }
        if drawn not in found:
            found.append(drawn)
        if len(found) == number:
            break
    return found


def _range(text: str) -> Range:
    try:
        low, high, *rest = text.split("..")
        found = Range(float(low), float(high), *map(int, rest))
    except (ValueError, TypeError) as error:
        raise SettingsError(
            f"learner settings: space {text!r} is no range LOW..HIGH or LOW..HIGH..COUNT"
        ) from error
    right = 0.0 < found.low <= found.high < math.inf and 0 <= found.count <= _MOST_STEPS
    if not right or (rest and not found.count):
        raise SettingsError(
            f"learner settings: space {text!r}: needs 0 < LOW <= HIGH and COUNT from 1 to "
            f"{_MOST_STEPS}"
        )
    return found


def _written(value: float, *, whole: bool) -> str:
    # Six digits: the last ones of a logarithm may differ between machines.
    return str(round(value)) if whole else f"{value:.6g}"
