"""A descent whose every evaluation is a round: the coordinator asks at one point at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from common.errors import ContributionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.learners.base import Arrays

    Direction = tuple[NDArray[np.float64], float]

# Armijo's condition (Nocedal & Wright, Numerical Optimization, section 3.1).
_DECREASE = 1e-4
# Sums over sites are rounded; a smaller change of the loss says nothing.
_ROUNDING = 1e-12
_SHORTEST = 1e-8
# A gain below this share of the loss is of a solution that is zero but for rounding, whose
# relative length of steps says nothing.
_NO_GAIN = float(np.finfo(np.float64).eps) ** 2


@dataclass(frozen=True)
class Track:
    """One descent.

    Attributes
    ----------
    base : ndarray of float64, shape (p,)
        The last point that was accepted.
    direction : ndarray of float64, shape (p,)
        The full step from there.
    loss, slope : float
        The objective at `base`, and its expected change over the full step, negative.
    scale : float
        The share of the step that is being tried.
    size : float
        Length of the last full step taken whole, relative to the point; infinite before.
    done : bool
        Whether the point is the solution.
    """

    base: NDArray[np.float64]
    direction: NDArray[np.float64]
    loss: float = math.inf
    slope: float = 0.0
    scale: float = 1.0
    size: float = math.inf
    done: bool = False

    @property
    def point(self) -> NDArray[np.float64]:
        """Where the next round evaluates; at the end the solution."""
        return self.base + self.scale * self.direction


def begin(point: NDArray[np.float64]) -> Track:
    """Start a descent at a point of shape (p,)."""
    return Track(point, np.zeros_like(point))


def advance(
    track: Track,
    loss: float,
    step: Callable[[], Direction],
    *,
    tolerance: float,
    quadratic: bool,
) -> Track:
    """Judge the point that was tried, and choose the next.

    Parameters
    ----------
    track : Track
        The descent so far.
    loss : float
        The objective at ``track.point``.
    step : callable
        Gives the full step from there and its expected change; called if the point is accepted.
    tolerance : float
        Relative length of the step after which the rest is neglected.
    quadratic : bool
        Whether steps shrink quadratically, as Newton's do near the solution of a smooth problem.
        The next step can then be foretold from two, and a round to confirm it is saved.

    Raises
    ------
    ContributionError
        If no share of the step lessens the objective: the sums contradict each other.
    """
    allowed = track.loss + _DECREASE * track.scale * track.slope + _ROUNDING * abs(track.loss)
    if not loss <= (allowed if math.isfinite(track.loss) else math.inf):
        # The minimum of the parabola through both losses and the slope, kept within bounds.
        curve = loss - track.loss - track.scale * track.slope
        best = -track.slope * track.scale / (2.0 * curve) if curve > 0 else 0.5
        scale = track.scale * min(max(best, 0.1), 0.5) if math.isfinite(loss) else track.scale / 10
        if scale < _SHORTEST:
            raise ContributionError(
                "no step lessens the loss: alpha_per_image is too small, or sums contradict others"
            )
        return replace(track, scale=scale)
    point = track.point
    direction, slope = step()
    length = float(np.linalg.norm(direction))
    size = length / max(float(np.linalg.norm(point + direction)), float(np.finfo(np.float64).tiny))
    done = size <= tolerance or -slope <= _NO_GAIN * abs(loss)
    if quadratic and not done and track.scale == 1.0 and size < 0.1 and math.isfinite(track.size):
        # Errors of Newton's method go as c e^2; c from the last two steps, with room for doubt.
        done = 10.0 * size * size * (size / track.size**2) <= tolerance
    whole = size if track.scale == 1.0 else math.inf
    return Track(point, direction, loss, slope, 1.0, whole, done)


def store(tracks: Sequence[Track]) -> Arrays:
    """Write descents into a state's memory."""
    numbers = [[t.loss, t.slope, t.scale, t.size, float(t.done)] for t in tracks]
    return {
        "track.base": np.array([t.base for t in tracks]),
        "track.direction": np.array([t.direction for t in tracks]),
        "track.number": np.array(numbers),
    }


def restore(memory: Arrays) -> list[Track]:
    """Read descents from a state's memory."""
    return [
        Track(base, direction, loss, slope, scale, size, bool(done))
        for base, direction, (loss, slope, scale, size, done) in zip(
            memory["track.base"],
            memory["track.direction"],
            memory["track.number"].tolist(),
            strict=True,
        )
    ]
