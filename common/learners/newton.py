"""Newton's method over rounds, smooth or with an L1 penalty, along a path of penalties by folds.

Each round, sites send the loss, its gradient and its Hessian at one point (at one point a fold,
while a penalty is being chosen); the coordinator takes the step. With an L1 term the step
minimises the penalised quadratic model: proximal Newton (Lee, Sun & Saunders, SIAM J. Optim. 24,
2014).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from common.errors import ContributionError
from common.learners.base import Arrays, ArraySpec, Contribution, State
from common.learners.descent import Track, advance, begin, restore, store
from common.learners.front import Rows
from common.learners.loss import Images, Loss, derivative_sums, full_hessian
from common.learners.penalty import Penalty
from common.learners.search import Selection, check_folds, fold_scores, hit_spec
from common.learners.symmetric import check_positive, packed_length

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_ROUNDS = 300
_PATH = 1e-5


class NewtonStep:
    """Newton rounds; with folds, first a path of penalties with one descent a fold.

    The path goes from the strongest penalty to the weakest, each fold's descent starting where it
    ended before. A fold's point is judged on the fold itself in the round that moves on from it.

    Parameters
    ----------
    classes, width : int
        Of the head.
    loss : Loss
        What is minimised.
    penalty : Penalty
        What is added to it.
    values : sequence of float
        The penalty an image, or the values to choose from, strongest first.
    folds : int
        Number of folds; 0 for no choice.
    tolerance : float
        Relative length of a step that ends a descent.
    """

    def __init__(
        self,
        classes: int,
        width: int,
        loss: Loss,
        penalty: Penalty,
        values: Sequence[float],
        folds: int = 0,
        tolerance: float = 1e-7,
    ) -> None:
        self.classes, self.width, self.size = classes, width, width + 1
        self.loss, self.penalty = loss, penalty
        self.values, self.folds, self.tolerance = list(values), folds, tolerance
        self.stages: tuple[str, ...] = ("path", "newton") if folds else ("newton",)
        self.initial: NDArray[np.float64] | None = None

    @property
    def most_rounds(self) -> int:
        """The rounds that it takes at most."""
        return MOST_ROUNDS

    def start(self, fitted: Arrays) -> State:
        """Start at zero, or at a given model's coefficients."""
        point = np.zeros(self.classes * self.size)
        if self.initial is not None:
            free = self.penalty.problem(1.0, fitted["class_count"] > 0, self.size).free
            point = np.where(free, self.initial.ravel(), 0.0)
        shared = self._shared("path" if self.folds else "newton", fitted)
        if self.folds:
            memory = {
                "path.index": np.array([0]),
                "path.score": np.zeros((0, self.folds)),
                "path.point": np.zeros((0, len(point))),
                "path.entering": np.array([0]),
            }
            return self._ask("path", [begin(point)] * self.folds, shared, memory, 0)
        return self._ask("newton", [begin(point)], shared, {}, 0)

    def state_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Describe the points, one or one a fold, the classes that each knows, and weights."""
        return {
            "point": ArraySpec((self._lanes(stage), self.classes, self.size)),
            "known": ArraySpec((self._lanes(stage), self.classes), "int64", minimum=0),
            "class_weight": ArraySpec((self.classes,), minimum=0.0),
        }

    def contribution_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Describe the loss and its derivatives at each point, and how it does on its fold."""
        lanes, blocks = self._lanes(stage), len(self.loss.blocks(self.classes))
        spec = {
            "loss": ArraySpec((lanes,), minimum=0.0),
            "gradient": ArraySpec((lanes, self.classes, self.size)),
            "hessian": ArraySpec((lanes, blocks, packed_length(self.size))),
        }
        if stage == "path":
            spec.update(hit_spec((), lanes, self.classes))
        return spec

    def verify(self, stage: str, contribution: Contribution) -> None:  # noqa: ARG002
        """Refuse a Hessian with a negative eigenvalue beyond rounding."""
        for packed in contribution.arrays["hessian"]:
            check_positive("hessian", full_hessian(self.loss, packed, self.classes, self.size))

    def contribute(self, rows: Iterable[Rows], state: State, fitted: Arrays) -> Arrays:  # noqa: ARG002
        """Sum over a site's images."""
        points, weight = state.arrays["point"], state.arrays["class_weight"]
        lanes, blocks = len(points), len(self.loss.blocks(self.classes))
        known = state.arrays["known"] > 0
        loss, gradient = np.zeros(lanes), np.zeros(points.shape)
        hessian = np.zeros((lanes, blocks, packed_length(self.size)))
        held = np.zeros((lanes, self.classes), dtype=np.int64)
        hits = np.zeros((lanes, self.classes), dtype=np.int64)
        by_fold = state.stage == "path"
        for part in rows:
            for lane in range(lanes):
                inside = part.fold != lane if by_fold else np.ones(len(part.y), dtype=np.bool_)
                y = part.y[inside]
                images = Images(part.z[inside], y, weight[y])
                sums = derivative_sums(self.loss, images, points[lane], known[lane], hessian=True)
                loss[lane] += sums[0]
                gradient[lane] += sums[1]
                hessian[lane] += sums[2]
                if by_fold:
                    scores = part.z[~inside] @ points[lane].T
                    left_out = part.y[~inside]
                    right = np.where(known[lane], scores, -np.inf).argmax(axis=1) == left_out
                    held[lane] += np.bincount(left_out, minlength=self.classes)
                    hits[lane] += np.bincount(left_out[right], minlength=self.classes)
        sums_: dict[str, NDArray[np.float64] | NDArray[np.int64]]
        sums_ = {"loss": loss, "gradient": gradient, "hessian": hessian}
        return {**sums_, "held": held, "hits": hits} if by_fold else sums_

    def update(self, state: State, total: Contribution, fitted: Arrays) -> State:
        """Advance every descent by a round."""
        rounds = int(state.memory["track.rounds"][0]) + 1
        if rounds > MOST_ROUNDS:
            raise ContributionError(
                f"no solution within {MOST_ROUNDS} rounds; raise alpha_per_image"
            )
        if state.stage == "newton":
            value = float(state.memory.get("path.chosen", np.array(self.values))[0])
            track, notes = self._advance(state, total, fitted, 0, value)
            if track.done:
                return self._fitted(track, state.memory, notes)
            return self._ask("newton", [track], state.arrays, state.memory, rounds, notes)
        if rounds == 1:
            known = _known_to_folds(total.arrays["held"])
            if (known != state.arrays["known"]).any():
                # Nothing is learned of a class that a fold has all images of. Ask again without it.
                shared = {**state.arrays, "known": known}
                return self._ask("path", restore(state.memory), shared, state.memory, rounds)
        return self._follow_path(state, total, fitted, rounds)

    def _follow_path(self, state: State, total: Contribution, fitted: Arrays, rounds: int) -> State:
        memory = dict(state.memory)
        index = int(memory["path.index"][0])
        if memory["path.entering"][0]:
            scores = fold_scores(total.arrays["hits"], total.arrays["held"])
            memory["path.score"] = np.vstack([memory["path.score"], scores])
            memory["path.entering"] = np.array([0])
        if index == len(self.values):
            return self._choose(memory, fitted, rounds)
        value = self.values[index]
        advanced = [self._advance(state, total, fitted, lane, value) for lane in range(self.folds)]
        tracks = [track for track, _ in advanced]
        notes = tuple(dict.fromkeys(note for _, said in advanced for note in said))
        if all(track.done for track in tracks):
            points = np.array([track.point for track in tracks])
            memory["path.point"] = np.vstack([memory["path.point"], points.mean(axis=0)])
            memory["path.index"] = np.array([index + 1])
            memory["path.entering"] = np.array([1])
            tracks = [begin(point) for point in points]
        return self._ask("path", tracks, state.arrays, memory, rounds, notes)

    def _choose(self, memory: Arrays, fitted: Arrays, rounds: int) -> State:
        selection = Selection(np.array(self.values), memory["path.score"])
        kept = {
            "selection.value": selection.values,
            "selection.score": selection.scores,
            "path.chosen": np.array([selection.value]),
        }
        # The folds' mean is close to the solution on all images.
        start = begin(memory["path.point"][selection.chosen])
        return self._ask("newton", [start], self._shared("newton", fitted), kept, rounds)

    def _advance(
        self, state: State, total: Contribution, fitted: Arrays, lane: int, value: float
    ) -> tuple[Track, tuple[str, ...]]:
        track = restore(state.memory)[lane]
        if track.done:
            return track, ()
        notes: list[str] = []
        strength = value * int(fitted["class_count"].sum())
        problem = self.penalty.problem(strength, state.arrays["known"][lane] > 0, self.size)
        gradient = total.arrays["gradient"][lane].ravel()
        point = track.point

        def step() -> tuple[NDArray[np.float64], float]:
            packed = total.arrays["hessian"][lane]
            hessian = full_hessian(self.loss, packed, self.classes, self.size)
            direction, slope, said = problem.step(hessian, gradient, point)
            notes.extend(said)
            return direction, slope

        after = advance(
            track,
            float(total.arrays["loss"][lane]) + problem.value(point),
            step,
            # Held-out predictions need no more digits than these.
            tolerance=max(self.tolerance, _PATH) if state.stage == "path" else self.tolerance,
            quadratic=self.loss.quadratic,
        )
        return after, tuple(notes)

    def _ask(
        self,
        stage: str,
        tracks: list[Track],
        shared: Arrays,
        memory: Arrays,
        rounds: int,
        notes: tuple[str, ...] = (),
    ) -> State:
        points = np.array([t.point.reshape(self.classes, self.size) for t in tracks])
        kept = {**memory, **store(tracks), "track.rounds": np.array([rounds])}
        arrays = {name: shared[name] for name in ("class_weight", "known")}
        return State(stage, {**arrays, "point": points}, memory=kept, notes=notes)

    def _shared(self, stage: str, fitted: Arrays) -> Arrays:
        """Give what all sites are told beside the points: weights, and the classes known."""
        present = (fitted["class_count"] > 0).astype(np.int64)
        return {
            "class_weight": self.penalty.class_weights(fitted["class_count"]),
            "known": np.tile(present, (self._lanes(stage), 1)),
        }

    def _fitted(self, track: Track, memory: Arrays, notes: tuple[str, ...]) -> State:
        point = track.point.reshape(self.classes, self.size)
        arrays = {"coef": np.ascontiguousarray(point[:, :-1]), "intercept": point[:, -1].copy()}
        chosen = {name: a for name, a in memory.items() if name.startswith("selection.")}
        return State("fitted", arrays, True, chosen, notes)

    def _lanes(self, stage: str) -> int:
        return self.folds if stage == "path" else 1


def _known_to_folds(held: NDArray[np.int64]) -> NDArray[np.int64]:
    """Tell which classes each fold's descent has images of: int64, shape (folds, classes).

    Raises
    ------
    ContributionError
        If a fold leaves fewer than two classes to learn from.
    """
    check_folds(held)
    known: NDArray[np.int64] = (held.sum(axis=0) - held > 0).astype(np.int64)
    if (known.sum(axis=1) < 2).any():
        raise ContributionError("a fold leaves fewer than two classes; use fewer folds")
    return known
