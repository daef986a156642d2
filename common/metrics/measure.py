"""All metrics of a group of images, for the data and for each resample of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from common.metrics.calibration import brier_score, expected_calibration_error, reliability
from common.metrics.catalogue import SEPARATOR
from common.metrics.confusion import accuracy, binary_rates, class_metrics
from common.metrics.divide import divide
from common.metrics.ranking import auc, sensitivity_at
from common.metrics.selective import area_under_risk, risk_coverage
from common.metrics.statistics import Statistics, image_statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SPECIFICITY = 0.95
# Resamples at a time: what is computed in between then takes tens of megabytes.
_CHUNK = 32
# Means over classes, by the metric of a class that they are of.
_MEANS = {
    "balanced_accuracy": "sensitivity",
    "macro_specificity": "specificity",
    "macro_f1": "f1",
    "macro_auc": "auc",
}


@dataclass(frozen=True)
class Measured:
    """A group's metrics; the first of r rows is the data, the others are resamples.

    Attributes
    ----------
    classes : tuple of str, length k
        All classes.
    support : ndarray of int64, shape (k,)
        Images of each class in the data.
    overall : mapping of str to ndarray of float64, shape (r,)
        Metrics of the group as a whole; NaN where undefined.
    by_class : mapping of str to ndarray of float64, shape (r, k)
        Metrics of one class; NaN where undefined.
    confusion : ndarray of int64, shape (k, k)
        Of the data, rows the truth.
    curves : mapping of str to ndarray of float64, shape (r, points)
        ``risk`` by coverage; ``accuracy``, mean ``confidence`` and ``images`` by confidence bin.
    """

    classes: tuple[str, ...]
    support: NDArray[np.int64]
    overall: Mapping[str, NDArray[np.float64]]
    by_class: Mapping[str, NDArray[np.float64]]
    confusion: NDArray[np.int64]
    curves: Mapping[str, NDArray[np.float64]]

    def values(self) -> dict[str, NDArray[np.float64]]:
        """Give every metric by its name, means over classes with them, shape (r,) each.

        Means are over the classes that have images in the data. A class without any has no
        metric of its own; a resample in which one of the others has none left has no mean.
        """
        present = np.flatnonzero(self.support)
        values = dict(self.overall)
        if len(present):
            for name, of_class in _MEANS.items():
                values[name] = self.by_class[of_class][:, present].mean(axis=1)
        for name, columns in self.by_class.items():
            for column in present:
                values[f"{name}{SEPARATOR}{self.classes[column]}"] = columns[:, column]
        return values


def measure(
    y: NDArray[np.intp],
    predicted: NDArray[np.intp],
    probabilities: NDArray[np.float64],
    classes: tuple[str, ...],
    malignant: tuple[str, ...],
    weights: NDArray[np.uint8],
) -> Measured:
    """Measure on images whose predictions are at hand.

    Parameters
    ----------
    y, predicted : ndarray of intp, shape (n,)
        The truth and the predictions, as indices into `classes`.
    probabilities : ndarray of float64, shape (n, k)
        Of each class.
    classes, malignant : tuple of str
        All classes, and the malignant ones of them, if the cohort tells.
    weights : ndarray of uint8, shape (r, n)
        From `common.metrics.lesion_weights`, the first row all ones.
    """
    ill = np.isin(classes, malignant)
    support = np.bincount(y, minlength=len(classes))
    parts = []
    for start in range(0, len(weights), _CHUNK):
        chunk = weights[start : start + _CHUNK]
        sums = image_statistics(y, predicted, probabilities, ill, chunk)
        parts.append(measure_sums(sums, classes, malignant, support))
    return _stacked(parts)


def measure_sums(
    sums: Statistics,
    classes: tuple[str, ...],
    malignant: tuple[str, ...],
    support: NDArray[np.int64],
) -> Measured:
    """Measure from sums.

    Parameters
    ----------
    sums : Statistics
        For r weightings.
    classes, malignant : tuple of str
        All classes, and the malignant ones of them.
    support : ndarray of int64, shape (k,)
        Images of each class in the data.
    """
    curve = reliability(sums.confidence)
    overall = {
        "accuracy": accuracy(sums.confusion),
        "calibration_error": expected_calibration_error(curve),
        "brier_score": brier_score(sums.scores),
        "area_under_risk": area_under_risk(sums.confidence),
    }
    if sums.malignant is not None:
        overall["malignant_auc"] = auc(sums.malignant)
        rates = binary_rates(sums.confusion, np.isin(classes, malignant))
        overall["malignant_sensitivity"], overall["malignant_specificity"] = rates
    at = [sensitivity_at(one, _SPECIFICITY) for one in sums.scores]
    return Measured(
        classes=classes,
        support=support,
        overall=overall,
        by_class={
            **class_metrics(sums.confusion),
            "auc": np.stack([auc(one) for one in sums.scores], axis=1),
            "sensitivity_at_95": np.stack(at, axis=1),
        },
        confusion=np.rint(sums.confusion[0]).astype(np.int64),
        curves={
            "risk": risk_coverage(sums.confidence),
            "accuracy": divide(curve.right, curve.count),
            "confidence": divide(curve.confidence, curve.count),
            "images": curve.count,
        },
    )


def average(measured: Sequence[Measured]) -> Measured:
    """Average over repetitions, such as several seeds of the split, resample by resample.

    A metric is averaged over the repetitions in which it has a value, each class's for itself, so
    that a rare class which one repetition lacks is masked there and nowhere else.

    Parameters
    ----------
    measured : sequence of Measured
        Of the same classes and resamples; counts of images are added up.
    """
    first = measured[0]
    curves = {
        name: _mean([one.curves[name] for one in measured])
        for name in first.curves
        if name != "images"
    }
    curves["images"] = np.sum([one.curves["images"] for one in measured], axis=0)
    return Measured(
        classes=first.classes,
        support=np.sum([one.support for one in measured], axis=0),
        overall={name: _mean([one.overall[name] for one in measured]) for name in first.overall},
        by_class={name: _mean([one.by_class[name] for one in measured]) for name in first.by_class},
        confusion=np.sum([one.confusion for one in measured], axis=0),
        curves=curves,
    )


def _mean(arrays: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Average what has a value."""
    stacked = np.stack(arrays)
    known = np.isfinite(stacked)
    return divide(np.where(known, stacked, 0.0).sum(axis=0), known.sum(axis=0).astype(np.float64))


def _stacked(parts: Sequence[Measured]) -> Measured:
    """Put chunks of resamples together."""

    def rows(name: str) -> dict[str, NDArray[np.float64]]:
        of_parts: list[Mapping[str, NDArray[np.float64]]] = [getattr(one, name) for one in parts]
        return {key: np.concatenate([one[key] for one in of_parts]) for key in of_parts[0]}

    first = parts[0]
    return Measured(
        classes=first.classes,
        support=first.support,
        overall=rows("overall"),
        by_class=rows("by_class"),
        confusion=first.confusion,
        curves=rows("curves"),
    )
