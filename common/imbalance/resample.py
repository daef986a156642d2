"""A site's training images, resampled: a pure function of them, a treatment and a seed.

Each fold is treated apart, so that no image is made of two folds' images. Whatever cannot be done
as asked is done otherwise and named.

Under a policy with a minimum of m images, no class gains or loses 1 to m - 1 images, and a class
that is over-sampled by repetition repeats at least m of them: the difference between the sums of
a treated and of an untreated run is over at least m images, as every other sum is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from common.imbalance.goals import class_goals
from common.imbalance.oversampling import Made, repeat, synthesise
from common.imbalance.undersampling import keep_some
from common.learners.base import SiteData

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from common.imbalance.treatment import Treatment


@dataclass(frozen=True)
class Resampled:
    """What a site learns from.

    Attributes
    ----------
    data : SiteData
        The images that stay, in their order, then those that were added.
    real : int
        How many the site has.
    notes : tuple of str
        What was done otherwise than asked: class, number, what was done. For the site's own eyes,
        since they hold counts.
    """

    data: SiteData
    real: int
    notes: tuple[str, ...] = ()


def resample(
    data: SiteData,
    treatment: Treatment,
    classes: Sequence[str],
    *,
    seed: int | None = None,
    minimum: int = 1,
) -> Resampled:
    """Treat a site's training images.

    Parameters
    ----------
    data : SiteData
        The images.
    treatment : Treatment
        What to do.
    classes : sequence of str
        Class names, which labels index.
    seed : int or None
        What is drawn by; the treatment's own seed if None. Every fold draws by it anew.
    minimum : int
        Fewest images that a difference of two sums may be over.
    """
    if treatment.kind == "none":
        return Resampled(data, len(data))
    drawn_by = treatment.seed if seed is None else seed
    folds = [None] if data.fold is None else np.unique(data.fold).tolist()
    stay: list[NDArray[np.intp]] = []
    added: list[Made] = []
    added_to: list[int] = []
    notes: list[str] = []
    # Which of two neighbours at one distance is nearer may depend on the number of threads.
    with threadpool_limits(1):
        for fold in folds:
            rows = np.arange(len(data)) if fold is None else np.flatnonzero(data.fold == fold)
            cell = _treat(data.x[rows], data.y[rows], treatment, classes, drawn_by, minimum)
            stay.append(rows[cell.stay])
            added.append(cell.made)
            added_to.append(-1 if fold is None else fold)
            where = "" if fold is None else f"fold {fold}: "
            notes += [where + note for note in cell.notes]
    kept = np.sort(np.concatenate([np.empty(0, dtype=np.intp), *stay]))
    fold = None
    if data.fold is not None:
        new = np.repeat(np.array(added_to, dtype=np.intp), [len(made.y) for made in added])
        fold = np.concatenate([data.fold[kept], new])
    treated = SiteData(
        np.concatenate([data.x[kept], *(made.x for made in added)]),
        np.concatenate([data.y[kept], *(made.y for made in added)]),
        fold,
    )
    return Resampled(treated, len(data), tuple(notes))


@dataclass(frozen=True)
class _Cell:
    """What became of one fold's images: positions that stay, images that are added."""

    stay: NDArray[np.intp]
    made: Made
    notes: list[str]


def _treat(
    x: NDArray[np.float32],
    y: NDArray[np.intp],
    treatment: Treatment,
    classes: Sequence[str],
    seed: int,
    minimum: int,
) -> _Cell:
    everything = np.arange(len(y))
    count = np.bincount(y, minlength=len(classes))
    nothing = Made(x[:0], y[:0], ())
    absent = [name for name, images in zip(classes, count, strict=True) if not images]
    notes = [f"no image of {', '.join(absent)}: none is made"] if absent and treatment.adds else []
    if np.count_nonzero(count) < 2:
        return _Cell(everything, nothing, [*notes, "fewer than two classes: left as they are"])
    goals = class_goals(count, treatment)
    for label in [label for label, goal in goals.items() if abs(goal - count[label]) < minimum]:
        del goals[label]
        notes.append(_too_few(classes[label], minimum))
    if not goals:
        return _Cell(everything, nothing, notes)
    if treatment.kind == "undersample":
        return _Cell(keep_some(y, goals, seed), nothing, notes)
    make = repeat if treatment.kind == "oversample" else synthesise
    made = make(x, y, goals, treatment, seed)
    notes += [f"{classes[label]}: {text}" for label, text in made.notes]
    for label in goals:
        of_class = made.y == label
        # One image that is repeated is one image.
        different = {row.tobytes() for row in made.x[of_class]}
        if 0 < len(different) < minimum:
            made = Made(made.x[~of_class], made.y[~of_class], made.notes)
            notes.append(_too_few(classes[label], minimum))
    return _Cell(everything, made, notes)


def _too_few(name: str, minimum: int) -> str:
    return f"{name}: left as it is, since fewer than {minimum} images would tell it from before"
