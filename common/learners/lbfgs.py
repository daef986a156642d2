"""L-BFGS over rounds, preconditioned with the Gram matrix, for features in full dimension.

A Newton round of a softmax over 1,280 features would carry 640 MB; a round of gradients carries
70 kB. The weighted Gram matrix, asked for once, gives the curvature that both losses have in
common, so that far fewer rounds are needed than without (Nocedal & Wright, Numerical Optimization,
section 7.2, with their H_0 the preconditioner).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from common.errors import ContributionError
from common.learners.base import Arrays, ArraySpec, Contribution, State
from common.learners.closed_form import gram_sums
from common.learners.descent import Track, advance, begin, restore, store
from common.learners.front import Rows
from common.learners.loss import Images, Loss, derivative_sums
from common.learners.penalty import Penalty, PenaltyProblem
from common.learners.symmetric import check_positive, packed_length, unpack, unpack_upper

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_ROUNDS = 1000
# How far above the tolerance the bound on the error, which is pessimistic, may lie.
_CERTAIN = 100.0
_ROUNDING = 1e-15
_HISTORY = 20


class LbfgsStep:
    """One round of the Gram matrix, then rounds of gradients.

    Parameters
    ----------
    classes, width : int
        Of the head.
    loss : Loss
        What is minimised.
    penalty : Penalty
        What is added to it, L2.
    value : float
        The penalty an image.
    curvature : float
        The loss's typical second derivative by a score, times a class's weight.
    tolerance : float
        Of the gradient in the preconditioner's norm, relative to the point's, that ends it.
    """

    stages: tuple[str, ...] = ("curvature", "gradient")

    def __init__(
        self,
        classes: int,
        width: int,
        loss: Loss,
        penalty: Penalty,
        value: float,
        curvature: float,
        tolerance: float = 1e-7,
    ) -> None:
        self.classes, self.width, self.size = classes, width, width + 1
        self.loss, self.penalty, self.value = loss, penalty, value
        self.curvature, self.tolerance = curvature, tolerance
        self.initial: NDArray[np.float64] | None = None

    @property
    def most_rounds(self) -> int:
        """The rounds that it takes at most: the Gram matrix's, then gradients."""
        return 1 + MOST_ROUNDS

    def start(self, fitted: Arrays) -> State:
        """Ask for the weighted Gram matrix."""
        weight = self.penalty.class_weights(fitted["class_count"])
        return State("curvature", {"class_weight": weight})

    def state_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Describe the classes' weights, and then the point."""
        weight = {"class_weight": ArraySpec((self.classes,), minimum=0.0)}
        if stage == "curvature":
            return weight
        return {**weight, "point": ArraySpec((self.classes, self.size))}

    def contribution_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Describe the Gram matrix, or loss and gradient."""
        if stage == "curvature":
            return {"gram": ArraySpec((1, packed_length(self.size)))}
        return {
            "loss": ArraySpec((1,), minimum=0.0),
            "gradient": ArraySpec((self.classes, self.size)),
        }

    def verify(self, stage: str, contribution: Contribution) -> None:
        """Refuse a Gram matrix with a negative eigenvalue beyond rounding."""
        if stage == "curvature":
            check_positive("gram", unpack_upper(contribution.arrays["gram"][0], self.size))

    def contribute(self, rows: Iterable[Rows], state: State, fitted: Arrays) -> Arrays:
        """Sum over a site's images."""
        weight = state.arrays["class_weight"]
        if state.stage == "curvature":
            return {"gram": gram_sums(rows, weight, self.size)["gram"]}
        present = fitted["class_count"] > 0
        point = state.arrays["point"]
        loss, gradient = np.zeros(1), np.zeros(point.shape)
        for part in rows:
            images = Images(part.z, part.y, weight[part.y])
            value, slope, _ = derivative_sums(self.loss, images, point, present, hessian=False)
            loss += value
            gradient += slope
        return {"loss": loss, "gradient": gradient}

    def update(self, state: State, total: Contribution, fitted: Arrays) -> State:
        """Factor the preconditioner; then take a step a round."""
        strength = self.value * int(fitted["class_count"].sum())
        present = fitted["class_count"] > 0
        problem = self.penalty.problem(strength, present, self.size)
        weight = state.arrays["class_weight"]
        if state.stage == "curvature":
            factor = self._factor(unpack(total.arrays["gram"][0], self.size), problem.l2)
            point = np.zeros(self.classes * self.size)
            if self.initial is not None:
                point = np.where(problem.free, self.initial.ravel(), 0.0)
            empty = np.zeros((0, len(point)))
            memory = {"factor": factor, "moves": empty, "turns": empty}
            return self._ask(memory, begin(point), weight, 0)
        rounds = int(state.memory["track.rounds"][0]) + 1
        if rounds > MOST_ROUNDS:
            raise ContributionError(
                f"no solution within {MOST_ROUNDS} rounds; raise alpha_per_image or give pca=K"
            )
        track, memory = restore(state.memory)[0], dict(state.memory)
        point = track.point
        gradient = np.where(problem.free, total.arrays["gradient"].ravel() + problem.l2 * point, 0)

        def step() -> tuple[NDArray[np.float64], float]:
            self._remember(memory, point, gradient)
            direction = -np.where(problem.free, self._inverse(memory, gradient), 0.0)
            return direction, float(gradient @ direction)

        track = advance(
            track,
            float(total.arrays["loss"][0]) + problem.value(point),
            step,
            # Its steps are shorter than the way that is left, unlike Newton's.
            tolerance=0.1 * self.tolerance,
            quadratic=False,
        )
        bound = _CERTAIN * self.tolerance
        sure = _error_bound(gradient, point, problem, float(total.arrays["loss"][0])) <= bound
        if track.done and not sure:
            track = replace(track, done=False)
        if track.done:
            solution = track.point.reshape(self.classes, self.size)
            arrays = {"coef": solution[:, :-1].copy(), "intercept": solution[:, -1].copy()}
            if self.penalty.softmax and problem.shared.any():
                arrays["intercept"][present] -= arrays["intercept"][present].mean()
            return State("fitted", arrays, True)
        return self._ask(memory, track, weight, rounds)

    def _ask(self, memory: Arrays, track: Track, weight: NDArray[np.float64], rounds: int) -> State:
        kept = {**memory, **store([track]), "track.rounds": np.array([rounds])}
        arrays = {"point": track.point.reshape(self.classes, self.size), "class_weight": weight}
        return State("gradient", arrays, memory=kept)

    def _factor(self, gram: NDArray[np.float64], l2: NDArray[np.float64]) -> NDArray[np.float64]:
        """Factor ``curvature gram + penalty``, the same for every class."""
        matrix = self.curvature * gram + np.diag(l2[: self.size])
        try:
            factor: NDArray[np.float64] = cho_factor(matrix, lower=True)[0]
        except (LinAlgError, ValueError) as error:
            raise ContributionError(
                "the Gram matrix is singular to rounding; raise alpha_per_image"
            ) from error
        return factor

    @staticmethod
    def _remember(
        memory: dict[str, NDArray[np.float64]],
        point: NDArray[np.float64],
        gradient: NDArray[np.float64],
    ) -> None:
        """Keep the last moves and how the gradient turned over them."""
        if "last.point" in memory:
            move = point - memory["last.point"]
            turn = gradient - memory["last.gradient"]
            # Convexity makes this positive, but for rounding.
            if move @ turn > 1e-12 * np.linalg.norm(move) * np.linalg.norm(turn):
                memory["moves"] = np.vstack([memory["moves"], move])[-_HISTORY:]
                memory["turns"] = np.vstack([memory["turns"], turn])[-_HISTORY:]
        memory["last.point"], memory["last.gradient"] = point, gradient

    def _inverse(
        self, memory: Mapping[str, NDArray[np.float64]], gradient: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Apply the inverse Hessian's approximation (Nocedal & Wright, algorithm 7.4)."""
        moves, turns, q = memory["moves"], memory["turns"], gradient.copy()
        rho = 1.0 / (moves * turns).sum(axis=1)
        alpha = np.zeros(len(moves))
        for i in range(len(moves) - 1, -1, -1):
            alpha[i] = rho[i] * (moves[i] @ q)
            q -= alpha[i] * turns[i]
        direction = self._precondition(memory, q)
        if len(moves):
            last = turns[-1]
            direction *= (moves[-1] @ last) / (last @ self._precondition(memory, last))
        for i in range(len(moves)):
            direction += moves[i] * (alpha[i] - rho[i] * (turns[i] @ direction))
        return direction

    def _precondition(
        self, memory: Mapping[str, NDArray[np.float64]], vector: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        rows = vector.reshape(self.classes, self.size)
        solved: NDArray[np.float64] = cho_solve((memory["factor"], True), rows.T).T
        return solved.ravel()


def _error_bound(
    gradient: NDArray[np.float64],
    point: NDArray[np.float64],
    problem: PenaltyProblem,
    loss: float,
) -> float:
    """Bound the relative error of the penalised coordinates by the penalty's curvature alone.

    The preconditioner is the curvature at the start. Where images are separated, the true one is
    far smaller, and short steps say nothing. A gradient that is rounding bounds nothing: 0.
    """
    held = problem.l2 > 0
    slope, size = float(np.linalg.norm(gradient[held])), float(np.linalg.norm(point[held]))
    if slope <= _ROUNDING * loss:
        return 0.0
    curvature = float(problem.l2[held].min())
    return slope / max(curvature * size, float(np.finfo(np.float64).tiny))
