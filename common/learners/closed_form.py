"""Heads that one weighted Gram matrix determines, with or without choosing a setting by folds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from common.errors import ContributionError
from common.learners.base import Arrays, ArraySpec, Contribution, State
from common.learners.front import Rows
from common.learners.search import Selection, check_folds, fold_scores, hit_spec
from common.learners.symmetric import (
    add_products,
    check_positive,
    pack,
    packed_length,
    unpack,
    unpack_upper,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Line = tuple[NDArray[np.float64], NDArray[np.float64]]

_SAME = 1e-9
# A score that never wins, and is a number.
_NEVER = -1e300


@dataclass(frozen=True)
class GramSums:
    """Weighted sums of transformed features z with a trailing 1.

    Attributes
    ----------
    gram : ndarray of float64, shape (p, p)
        ``sum w z z'``.
    class_sum : ndarray of float64, shape (classes, p)
        ``sum w z`` of each class; the last column is the class's weight.
    """

    gram: NDArray[np.float64]
    class_sum: NDArray[np.float64]


class Solver(Protocol):
    """What a closed-form head adds to the sums."""

    def weights(self, class_count: NDArray[np.int64]) -> NDArray[np.float64]:
        """Give each class's weight, shape (classes,); 0 for a class without images."""

    def solve(
        self, sums: GramSums, values: Sequence[float], images: int
    ) -> tuple[list[Line], tuple[str, ...]]:
        """Give coefficients (classes, width) and intercepts (classes,) for each searched value.

        `images` is the number of all training images, also where the sums leave a fold out.
        """


class ClosedFormStep:
    """One round; with folds a second one, which asks how candidates do on what they left out.

    With folds, sites contribute the same sums by fold: their total is the sum of all, and the
    total less one fold is what the fold's candidates are fitted on. Weights and the front are
    those of all training images.

    Parameters
    ----------
    classes, width : int
        Of the head.
    solver : Solver
        The head.
    values : sequence of float
        The setting, or the values to choose from, strongest regularisation first.
    folds : int
        Number of folds; 0 for no choice.
    """

    def __init__(
        self, classes: int, width: int, solver: Solver, values: Sequence[float], folds: int = 0
    ) -> None:
        self.classes, self.width, self.size = classes, width, width + 1
        self.solver, self.values, self.folds = solver, list(values), folds
        self.lanes = max(folds, 1)
        self.stages: tuple[str, ...] = ("gram", "validate") if folds else ("gram",)

    @property
    def most_rounds(self) -> int:
        """The rounds that it takes: one a stage."""
        return len(self.stages)

    def start(self, fitted: Arrays) -> State:
        """Ask for the Gram matrix, by fold if there are folds."""
        return State("gram", {"class_weight": self.solver.weights(fitted["class_count"])})

    def state_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Describe the classes' weights, or the candidates."""
        if stage == "gram":
            return {"class_weight": ArraySpec((self.classes,), minimum=0.0)}
        shape = (self.folds, len(self.values), self.classes, self.size)
        return {"candidate": ArraySpec(shape)}

    def contribution_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Describe the sums, or what the candidates predict right."""
        if stage == "gram":
            return {
                "gram": ArraySpec((self.lanes, packed_length(self.size))),
                "class_sum": ArraySpec((self.lanes, self.classes, self.size)),
            }
        return hit_spec((len(self.values),), self.folds, self.classes)

    def verify(self, stage: str, contribution: Contribution) -> None:
        """Refuse a Gram matrix that no images can have, or that is not of the class sums."""
        if stage != "gram":
            return
        for packed, class_sum in zip(
            contribution.arrays["gram"], contribution.arrays["class_sum"], strict=True
        ):
            gram = unpack_upper(packed, self.size)
            length, last = np.sqrt(np.maximum(np.diag(gram), 0.0)), gram[:, -1].copy()
            check_positive("gram", gram)
            slack = _SAME * length * length[-1]
            if (np.abs(class_sum.sum(axis=0) - last) > slack + _SAME).any():
                raise ContributionError("class_sum: does not belong to the Gram matrix")

    def contribute(self, rows: Iterable[Rows], state: State, fitted: Arrays) -> Arrays:  # noqa: ARG002
        """Sum over a site's images."""
        if state.stage == "validate":
            return self._hits(rows, state.arrays["candidate"])
        return gram_sums(rows, state.arrays["class_weight"], self.size, self.lanes)

    def update(self, state: State, total: Contribution, fitted: Arrays) -> State:
        """Solve; with folds, ask how the candidates do, choose, and solve on all."""
        images = int(fitted["class_count"].sum())
        if state.stage == "gram":
            lanes = [
                GramSums(unpack(packed, self.size), class_sum)
                for packed, class_sum in zip(
                    total.arrays["gram"], total.arrays["class_sum"], strict=True
                )
            ]
            whole = GramSums(
                np.sum([lane.gram for lane in lanes], axis=0),
                np.sum([lane.class_sum for lane in lanes], axis=0),
            )
            if not self.folds:
                return self._fitted(whole, self.values[0], images, {})
            return self._candidates(lanes, whole, images)
        check_folds(total.arrays["held"])
        scores = fold_scores(total.arrays["hits"], total.arrays["held"])
        memory = {"selection.value": np.array(self.values), "selection.score": scores}
        chosen = Selection(memory["selection.value"], scores).value
        whole = GramSums(unpack(state.memory["gram"], self.size), state.memory["class_sum"])
        return self._fitted(whole, chosen, images, memory)

    def fit_class_grams(
        self, combine: Callable[[NDArray[np.float64]], GramSums], fitted: Arrays
    ) -> State:
        """Solve from sums that are there already."""
        class_count = fitted["class_count"]
        sums = combine(self.solver.weights(class_count))
        return self._fitted(sums, self.values[0], int(class_count.sum()), {})

    def _candidates(self, lanes: list[GramSums], whole: GramSums, images: int) -> State:
        candidates: list[NDArray[np.float64]] = []
        notes: list[str] = []
        for lane in lanes:
            rest = GramSums(whole.gram - lane.gram, whole.class_sum - lane.class_sum)
            if not rest.class_sum[:, -1].sum() > 0:
                raise ContributionError("a fold holds all training images; use fewer folds")
            lines, said = self.solver.solve(rest, self.values, images)
            candidate = np.array([np.column_stack(line) for line in lines])
            # They cannot know a class whose images are all in the fold.
            unknown = ~(rest.class_sum[:, -1] > 0)
            candidate[:, unknown, :-1], candidate[:, unknown, -1] = 0.0, _NEVER
            candidates.append(candidate)
            notes.extend(said)
        memory = {"gram": pack(whole.gram), "class_sum": whole.class_sum}
        told = tuple(dict.fromkeys(notes))
        return State("validate", {"candidate": np.array(candidates)}, False, memory, told)

    def _fitted(self, sums: GramSums, value: float, images: int, memory: Arrays) -> State:
        lines, notes = self.solver.solve(sums, [value], images)
        coef, intercept = lines[0]
        arrays = {"coef": np.ascontiguousarray(coef), "intercept": intercept}
        return State("fitted", arrays, True, memory, notes)

    def _hits(self, rows: Iterable[Rows], candidate: NDArray[np.float64]) -> Arrays:
        """Count what each candidate predicts right on the fold that it was not fitted on."""
        tried = len(self.values)
        held = np.zeros((self.folds, self.classes), dtype=np.int64)
        hits = np.zeros((tried, self.folds, self.classes), dtype=np.int64)
        for part in rows:
            for fold in range(self.folds):
                inside = part.fold == fold
                z, y = part.z[inside], part.y[inside]
                held[fold] += np.bincount(y, minlength=self.classes)
                for index in range(tried):
                    right = (z @ candidate[fold, index].T).argmax(axis=1) == y
                    hits[index, fold] += np.bincount(y[right], minlength=self.classes)
        return {"held": held, "hits": hits}


def gram_sums(
    rows: Iterable[Rows], class_weight: NDArray[np.float64], size: int, lanes: int = 1
) -> dict[str, NDArray[np.float64]]:
    """Sum ``w z z'`` (packed) and ``w z`` by class, by fold where there are several lanes."""
    classes = len(class_weight)
    grams: list[NDArray[np.float64] | None] = [None] * lanes
    class_sum = np.zeros((lanes, classes, size))
    for part in rows:
        root = np.sqrt(class_weight[part.y])
        weighted = part.z * root[:, None]
        member = (part.y == np.arange(classes)[:, None]) * root
        for lane in range(lanes):
            inside = part.fold == lane if lanes > 1 else slice(None)
            grams[lane] = add_products(np.ascontiguousarray(weighted[inside]), grams[lane])
            class_sum[lane] += member[:, inside] @ weighted[inside]
    empty = np.zeros((size, size), order="F")
    packed = np.array([pack(empty if gram is None else gram) for gram in grams])
    return {"gram": packed, "class_sum": class_sum}
