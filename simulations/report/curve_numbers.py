"""Points of curves as numbers that a reader can find and recompute."""

from __future__ import annotations

from simulations.report.numbers import Shown
from simulations.report.schema import COVERAGES, Cell, Curves


def curve_place(cell: Cell, kind: str, at: str) -> dict[str, str]:
    """Tell which point of which curve a number is."""
    return {
        "kind": kind,
        "learner": cell.learner,
        "model": cell.model,
        "condition": cell.condition,
        "by": cell.by,
        "group": cell.group,
        "at": at,
    }


def risk_number(cell: Cell, curve: Curves, coverage: float) -> Shown:
    """Give the error rate at a share of images decided, one of 0.05, 0.10, ... 1.00."""
    point = curve.risk[round(coverage * COVERAGES) - 1]
    return Shown(point, curve_place(cell, "risk", f"{coverage:.2f}"))
