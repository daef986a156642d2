"""The predictions behind a row of a table: one model, one condition, every seed of the split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simulations.studies.base import Study, Value
from simulations.studies.fit import Fit, FitResult

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Repetition:
    """Predictions of one seed, in the order of the lab's cohort.

    Attributes
    ----------
    split_seed : int
        The seed.
    rows : ndarray of intp, shape (n,)
        Test images, as positions in the lab's cohort.
    client : ndarray of str, shape (n,)
        Site of the partition.
    probabilities : ndarray of float32, shape (n, k)
        Rounded so that a file holds exactly what metrics are computed from.
    predicted : ndarray of intp, shape (n,)
        The model's choice.
    turned : bool
        Whether the images were tested in several turns of the split.
    """

    split_seed: int
    rows: NDArray[np.intp]
    client: NDArray[np.str_]
    probabilities: NDArray[np.float32]
    predicted: NDArray[np.intp]
    turned: bool = False


@dataclass(frozen=True)
class Series:
    """A row of a study's tables.

    Attributes
    ----------
    learner, model, condition : str
        What it is.
    about : mapping
        The condition as values.
    repetitions : tuple of Repetition
        One a seed of the split, ascending.
    """

    learner: str
    model: str
    condition: str
    about: Mapping[str, Value]
    repetitions: tuple[Repetition, ...]

    @property
    def name(self) -> tuple[str, str, str]:
        """Learner, model and condition."""
        return self.learner, self.model, self.condition


def collect_series(study: Study, results: Sequence[tuple[Fit, FitResult]]) -> list[Series]:
    """Put the results of fits together, those that differ in their test sites or seeds.

    Parameters
    ----------
    study : Study
        Tells where each model stands.
    results : sequence of (Fit, FitResult)
        In the order of the study's list, which becomes that of the series.
    """
    parts: dict[tuple[str, str, str], dict[int, list[Repetition]]] = {}
    about: dict[tuple[str, str, str], Mapping[str, Value]] = {}
    for fit, result in results:
        for model, p in result.probabilities.items():
            label = study.label(fit, model)
            name = (fit.learner, label.model, label.condition)
            about.setdefault(name, label.about)
            part = Repetition(
                fit.split_seed,
                result.rows,
                result.client,
                p.astype(np.float32),
                result.predicted[model],
                turned=fit.turn > 0,
            )
            parts.setdefault(name, {}).setdefault(fit.split_seed, []).append(part)
    return [
        Series(*name, about[name], tuple(_joined(by_seed[seed]) for seed in sorted(by_seed)))
        for name, by_seed in parts.items()
    ]


def _joined(parts: Sequence[Repetition]) -> Repetition:
    rows = np.concatenate([part.rows for part in parts])
    order = np.argsort(rows)
    return Repetition(
        parts[0].split_seed,
        rows[order],
        np.concatenate([part.client for part in parts])[order],
        np.concatenate([part.probabilities for part in parts])[order],
        np.concatenate([part.predicted for part in parts])[order],
        turned=any(part.turned for part in parts),
    )
