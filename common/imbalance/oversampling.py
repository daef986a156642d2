"""Over-sampling by imbalanced-learn, and what is done where one of its methods cannot.

Each method is called once for all classes that it can serve alike, so that a site with enough
images of every class gets what imbalanced-learn gives for the same arrays and seed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.imbalance.treatment import Treatment

Goals = Mapping[int, int]
# Imbalanced-learn's own number of images, of any class, that tell whether one is at the border.
_AROUND = 10
# What ADASYN says of a class that it can make nothing for.
_GIVES_UP = ("Not any neigbours belong to the majority class", "No samples will be generated")


@dataclass(frozen=True)
class Made:
    """Images that are added.

    Attributes
    ----------
    x : ndarray, shape (n, dimension)
        Features.
    y : ndarray of intp, shape (n,)
        Labels.
    notes : tuple of (int, str)
        What was done otherwise than asked, by label.
    """

    x: NDArray[Any]
    y: NDArray[np.intp]
    notes: tuple[tuple[int, str], ...] = ()


def repeat(
    x: NDArray[Any],
    y: NDArray[np.intp],
    goals: Goals,
    treatment: Treatment,  # noqa: ARG001  # as `synthesise`
    seed: int,
) -> Made:
    """Repeat images drawn with replacement.

    Parameters
    ----------
    x, y : ndarray
        Features and labels.
    goals : mapping of int to int
        Images that each label is to have.
    treatment : Treatment
        Not looked at.
    seed : int
        What is drawn by.
    """
    from imblearn.over_sampling import RandomOverSampler

    sampler = RandomOverSampler(sampling_strategy=dict(goals), random_state=seed)
    sampler.fit_resample(x[:, :1], y)
    drawn = sampler.sample_indices_[len(y) :]
    return Made(x[drawn], y[drawn])


def synthesise(
    x: NDArray[Any], y: NDArray[np.intp], goals: Goals, treatment: Treatment, seed: int
) -> Made:
    """Make images up between those of a class and their neighbours of the same class.

    A class with fewer images than the method needs is served by fewer neighbours, one image is
    repeated, and a class for which borderline-SMOTE or ADASYN can make nothing is left to SMOTE.

    Parameters
    ----------
    x, y : ndarray
        Features and labels.
    goals : mapping of int to int
        Images that each label is to have; ADASYN comes near them.
    treatment : Treatment
        Kind and neighbours.
    seed : int
        What is drawn by.
    """
    notes: list[tuple[int, str]] = []
    alike: dict[int, dict[int, int]] = defaultdict(dict)
    parts: list[Made] = []
    for label, goal in goals.items():
        images = int((y == label).sum())
        if images == 1:
            parts.append(_copies(x, y, label, goal))
            notes.append((label, f"1 image has no neighbour: repeated {goal - 1} times"))
            continue
        neighbours = min(treatment.neighbours, images - 1)
        if neighbours < treatment.neighbours:
            fewer = f"{neighbours} neighbours" if neighbours > 1 else "1 neighbour"
            notes.append((label, f"{images} images: {fewer} instead of {treatment.neighbours}"))
        alike[neighbours][label] = goal
    for neighbours, some in alike.items():
        made = _call(treatment.kind, x, y, some, neighbours, seed)
        parts.append(made)
        without = {label: some[label] for label, _ in made.notes}
        if without:
            parts.append(_call("smote", x, y, without, neighbours, seed))
        notes += made.notes
    return Made(
        np.concatenate([x[:0], *(part.x for part in parts)]),
        np.concatenate([y[:0], *(part.y for part in parts)]),
        tuple(notes),
    )


def _copies(x: NDArray[Any], y: NDArray[np.intp], label: int, goal: int) -> Made:
    at = np.repeat(np.flatnonzero(y == label), goal - 1)
    return Made(x[at], y[at])


def _call(
    kind: str, x: NDArray[Any], y: NDArray[np.intp], goals: Goals, neighbours: int, seed: int
) -> Made:
    """Call a method; labels that it makes nothing for are in the notes."""
    if kind == "smote":
        from imblearn.over_sampling import SMOTE

        smote = SMOTE(sampling_strategy=dict(goals), random_state=seed, k_neighbors=neighbours)
        return _new(smote, x, y)
    method = _borderline if kind == "borderline-smote" else _adasyn
    return method(x, y, goals, neighbours, seed)


def _new(sampler: Any, x: NDArray[Any], y: NDArray[np.intp]) -> Made:  # noqa: ANN401
    found, labels = sampler.fit_resample(x, y)
    return Made(found[len(y) :], labels[len(y) :].astype(np.intp))


def _borderline(
    x: NDArray[Any], y: NDArray[np.intp], goals: Goals, neighbours: int, seed: int
) -> Made:
    from imblearn.over_sampling import BorderlineSMOTE

    sampler = BorderlineSMOTE(
        sampling_strategy=dict(goals),
        random_state=seed,
        k_neighbors=neighbours,
        m_neighbors=min(_AROUND, len(y) - 1),
    )
    told = "no image at a border with other classes: smote instead of borderline-smote"
    return _naming(_new(sampler, x, y), goals, told)


def _adasyn(x: NDArray[Any], y: NDArray[np.intp], goals: Goals, neighbours: int, seed: int) -> Made:
    from imblearn.over_sampling import ADASYN

    def attempt(some: Goals) -> Made | None:
        sampler = ADASYN(sampling_strategy=dict(some), random_state=seed, n_neighbors=neighbours)
        try:
            return _new(sampler, x, y)
        except (RuntimeError, ValueError) as error:
            if not str(error).startswith(_GIVES_UP):
                raise
        return None

    made = attempt(goals)
    if made is None:
        # It gives up on all classes at once: each is tried alone, to tell for which.
        rest = {label: goal for label, goal in goals.items() if attempt({label: goal}) is not None}
        made = attempt(rest) if rest else None
    nothing = Made(x[:0], y[:0])
    return _naming(made or nothing, goals, "adasyn can make nothing of it: smote instead")


def _naming(made: Made, goals: Goals, told: str) -> Made:
    """Name the classes that got nothing."""
    without = sorted(goals.keys() - set(made.y.tolist()))
    return Made(made.x, made.y, tuple((label, told) for label in without))
