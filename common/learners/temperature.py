"""Temperature scaling: scores become probabilities, fitted on held-out images of all sites.

One number, or one a class, multiplies the scores before the softmax (Guo et al., ICML 2017,
sections 4.1 and 4.2) and minimises the log loss of the validation images: Newton's method on sums
of the loss, its gradient and its curvature. These are as small as the number of parameters, so
each round asks at several points at once: first at temperatures of every magnitude, since heads
differ in the scale of their scores, and then along the Newton step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import log_softmax

from common.errors import ContributionError
from common.learners.base import Arrays, ArraySpec, Contribution, State
from common.learners.front import Rows
from common.learners.symmetric import check_positive, solve_positive

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TOLERANCE = 1e-10
_MOST_ROUNDS = 40
# A Newton step that promises less than this, an image, changes no probability that matters.
_FLAT = 1e-9
# A log loss below this, an image, is that of images which the scores separate.
_SEPARATED = 1e-6
_MAGNITUDES = np.exp2(np.arange(-16.0, 9.0))
# The last point is the base itself, so that one of them is never worse.
_SHARES = np.append(np.exp2(-np.arange(len(_MAGNITUDES) - 1.0)), 0.0)


class TemperatureStep:
    """The calibration of a fitted linear head.

    Parameters
    ----------
    classes, width : int
        Of the head.
    vector : bool
        One parameter a class instead of one.
    """

    stages: tuple[str, ...] = ("temperature",)

    def __init__(self, classes: int, width: int, *, vector: bool) -> None:
        self.classes, self.width = classes, width
        self.parameters = classes if vector else 1

    @property
    def most_rounds(self) -> int:
        """The rounds that it takes at most."""
        return _MOST_ROUNDS

    def start(self, fitted: Arrays) -> State:
        """Ask at every magnitude, keeping the head's coefficients beside the points."""
        points = np.repeat(_MAGNITUDES[:, None], self.parameters, axis=1)
        return self._ask(_head(fitted), points, {}, 0)

    def state_spec(self, stage: str) -> Mapping[str, ArraySpec]:  # noqa: ARG002
        """Describe the head's coefficients and ``theta``, inverse temperatures to look at."""
        return {
            "coef": ArraySpec((self.classes, self.width)),
            "intercept": ArraySpec((self.classes,)),
            "theta": ArraySpec((len(_MAGNITUDES), self.parameters)),
        }

    def contribution_spec(self, stage: str) -> Mapping[str, ArraySpec]:  # noqa: ARG002
        """Describe ``loss``, ``gradient`` and ``curvature`` at each point."""
        points, size = len(_MAGNITUDES), self.parameters
        return {
            "loss": ArraySpec((points,), minimum=0.0),
            "gradient": ArraySpec((points, size)),
            "curvature": ArraySpec((points, size, size)),
        }

    def verify(self, stage: str, contribution: Contribution) -> None:  # noqa: ARG002
        """Refuse a curvature that no images can have."""
        for curvature in contribution.arrays["curvature"]:
            if not np.allclose(curvature, curvature.T, rtol=1e-9, atol=1e-300):
                raise ContributionError("curvature: is not symmetric")
            check_positive("curvature", curvature.copy())

    def contribute(self, rows: Iterable[Rows], state: State, fitted: Arrays) -> Arrays:
        """Sum the log loss and its derivatives by the inverse temperatures."""
        points, size = state.arrays["theta"], self.parameters
        present = fitted["class_count"] > 0
        loss = np.zeros(len(points))
        gradient, curvature = np.zeros((len(points), size)), np.zeros((len(points), size, size))
        for part in rows:
            # A class without training images has no score to calibrate.
            known = present[part.y]
            y = part.y[known]
            scores = part.z[known, :-1] @ state.arrays["coef"].T + state.arrays["intercept"]
            for index, theta in enumerate(points):
                sums = _derivatives(scores, y, theta, present)
                loss[index] += sums[0]
                gradient[index] += sums[1]
                curvature[index] += sums[2]
        return {"loss": loss, "gradient": gradient, "curvature": curvature}

    def update(self, state: State, total: Contribution, fitted: Arrays) -> State:
        """Take the best point, and a Newton step from there; once it is negligible, end."""
        # Images of classes without training images count, but add no loss.
        if total.count == 0 or not total.arrays["loss"].any():
            return self._done(state, None, "no validation image, so it is left at 1")
        best = int(total.arrays["loss"].argmin())
        loss, theta = float(total.arrays["loss"][best]), state.arrays["theta"][best]
        gradient, curvature = total.arrays["gradient"][best], total.arrays["curvature"][best]
        if loss <= _SEPARATED * total.count:
            return self._done(state, theta, "the scores separate the validation images")
        if not curvature.any():
            return self._done(state, None, "all scores are equal, so it is left at 1")
        if self.parameters > 1:
            curvature = curvature + np.diag((fitted["class_count"] == 0).astype(np.float64))
        step = -solve_positive(curvature, gradient)[0]
        rounds = int(state.memory["temperature.rounds"][0]) + 1
        small = np.linalg.norm(step) <= np.sqrt(_TOLERANCE) * np.linalg.norm(theta)
        # Along a class that the scores separate, the loss is flat and the optimum infinite.
        flat = -float(gradient @ step) <= _FLAT * total.count
        if not (small or flat):
            if rounds >= _MOST_ROUNDS:
                # As where a class has no validation image: its own temperature has no minimum.
                note = f"no minimum found in {_MOST_ROUNDS} rounds, so the best so far is taken"
                return self._done(state, theta, note)
            points = theta + _SHARES[:, None] * step
            return self._ask(_head(state.arrays), points, state.memory, rounds)
        # Newton's error goes as the square of the step, so that a short one is the last; one along
        # a flat direction may be of any length.
        short = np.linalg.norm(step) <= 0.1 * np.linalg.norm(theta)
        return self._done(state, theta + step if short else theta, "")

    def _ask(self, head: Arrays, points: NDArray[np.float64], memory: Arrays, rounds: int) -> State:
        kept = {**memory, "temperature.rounds": np.array([rounds])}
        return State("temperature", {**head, "theta": points}, memory=kept)

    def _done(self, state: State, theta: NDArray[np.float64] | None, note: str) -> State:
        if theta is not None and not (theta > 0).all():
            theta, note = None, "the scores mislead on the validation images; left at 1"
        values = np.ones(self.classes) if theta is None else np.ones(self.classes) * theta
        notes = (f"temperature: {note}",) if note else ()
        arrays = {**_head(state.arrays), "inverse_temperature": values}
        return State("fitted", arrays, True, state.memory, notes)


def _head(arrays: Arrays) -> dict[str, NDArray[np.float64]]:
    return {name: arrays[name] for name in ("coef", "intercept")}


def _derivatives(
    scores: NDArray[np.float64],
    y: NDArray[np.intp],
    theta: NDArray[np.float64],
    present: NDArray[np.bool_],
) -> tuple[float, NDArray[np.float64] | float, NDArray[np.float64] | float]:
    """Sum the log loss at inverse temperatures, with its first and second derivatives."""
    log_p = log_softmax(np.where(present, theta * scores, -np.inf), axis=1)
    p, own = np.exp(log_p), np.arange(len(y))
    loss = -float(log_p[own, y].sum())
    weighted = p * scores
    if len(theta) == 1:
        mean = weighted.sum(axis=1)
        spread = (p * np.square(scores - mean[:, None])).sum()
        return loss, float((mean - scores[own, y]).sum()), float(spread)
    residual = p.copy()
    residual[own, y] -= 1.0
    # The others' probability, added up: one less p has no digits left where p is nearly one.
    others = p @ (1.0 - np.eye(len(theta)))
    cross = weighted.T @ weighted
    curvature = -(cross + cross.T) / 2
    np.fill_diagonal(curvature, (weighted * scores * others).sum(axis=0))
    return loss, (residual * scores).sum(axis=0), curvature
