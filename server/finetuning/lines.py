"""A round of fine-tuning in words, for who waits for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_LONG = 120.0


def round_line(entry: Mapping[str, Any], history: Sequence[Mapping[str, Any]], total: int) -> str:
    """Say how a round went and how long the others may take.

    Parameters
    ----------
    entry : mapping
        The round, as the history of a run or an event holds it.
    history : sequence of mapping
        All rounds so far, it included.
    total : int
        Rounds of the plan.
    """
    parts = [f"round {entry['round']} of {total}"]
    if entry["loss"] is not None:
        parts.append(f"loss {entry['loss']:.4f}")
    pooled = entry["validation"]["pooled"] if entry["validation"] else {}
    bounds = pooled.get("balanced_accuracy_bounds")
    if bounds:
        # Where sites withhold counts, it may lie anywhere between two values.
        shown = " to ".join(dict.fromkeys(f"{bound:.4f}" for bound in bounds))
        parts.append(f"balanced accuracy {shown} on {pooled['n']} validation images")
    parts.append(f"{entry['seconds']:.1f} s")
    left = seconds_left(entry, history, total)
    if entry["round"] and left:
        parts.append(
            f"about {left:.0f} s left" if left < _LONG else f"about {left / 60:.0f} min left"
        )
    return ", ".join(parts)


def seconds_left(
    entry: Mapping[str, Any], history: Sequence[Mapping[str, Any]], total: int
) -> float:
    """Estimate what the rounds after one take: as long as those of its depth."""
    done = [one["seconds"] for one in history if one["depth"] == entry["depth"]]
    return float((total - entry["round"]) * sum(done) / len(done))
