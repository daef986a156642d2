"""All metrics of a group of images, for the data and for each resample of them."""

from __future__ import annotations

from collections.abc import Mapping
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
_CHUNK = 64


@dataclass(frozen=True)
class Measured:
    """A group's metrics; the first of r rows is the data, the others are resamples.

    Attributes
    ----------
    values : mapping of str to ndarray of float64, shape (r,)
        By name of `CATALOGUE`, those of one class as ``"name:class"``; NaN where undefined.
    support : ndarray of int64, shape (k,)
        Images of each class.
    confusion : ndarray of int64, shape (k, k)
        Of the data, rows the truth.
    accuracy_by_confidence : ndarray of float64, shape (r, bins)
        Of the reliability curve; NaN in empty bins.
    mean_confidence, images_by_confidence : ndarray of float64, shape (bins,)
        Of the data.
    risk : ndarray of float64, shape (r, coverages)
        Of the risk-coverage curve.
    """

    values: Mapping[str, NDArray[np.float64]]
    support: NDArray[np.int64]
    confusion: NDArray[np.int64]
    accuracy_by_confidence: NDArray[np.float64]
    mean_confidence: NDArray[np.float64]
    images_by_confidence: NDArray[np.float64]
    risk: NDArray[np.float64]


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
    return _joined(parts)


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
        Images of each class in the data: means over classes are over those that have any. A
        resample in which one of them has none left has no such mean.
    """
    present = support > 0
    by_class = class_metrics(sums.confusion)
    by_class["auc"] = np.stack([auc(one) for one in sums.scores], axis=1)
    by_class["sensitivity_at_95"] = np.stack(
        [sensitivity_at(one, _SPECIFICITY) for one in sums.scores], axis=1
    )
    curve = reliability(sums.confidence)
    values = {
        "balanced_accuracy": _macro(by_class["sensitivity"], present),
        "accuracy": accuracy(sums.confusion),
        "macro_specificity": _macro(by_class["specificity"], present),
        "macro_f1": _macro(by_class["f1"], present),
        "macro_auc": _macro(by_class["auc"], present),
        "calibration_error": expected_calibration_error(curve),
        "brier_score": brier_score(sums.scores),
        "area_under_risk": area_under_risk(sums.confidence),
    }
    if sums.malignant is not None:
        values["malignant_auc"] = auc(sums.malignant)
        rates = binary_rates(sums.confusion, np.isin(classes, malignant))
        values["malignant_sensitivity"], values["malignant_specificity"] = rates
    for metric, columns in by_class.items():
        for column, (name, has) in enumerate(zip(classes, present, strict=True)):
            if has:
                values[f"{metric}{SEPARATOR}{name}"] = columns[:, column]
    return Measured(
        values=values,
        support=support,
        confusion=np.rint(sums.confusion[0]).astype(np.int64),
        accuracy_by_confidence=divide(curve.right, curve.count),
        mean_confidence=divide(curve.confidence, curve.count)[0],
        images_by_confidence=curve.count[0],
        risk=risk_coverage(sums.confidence),
    )


def _macro(columns: NDArray[np.float64], present: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Average over the classes present, shape (r,); NaN where one of them has no value."""
    if not present.any():
        return np.full(len(columns), np.nan)
    mean: NDArray[np.float64] = columns[:, present].mean(axis=1)
    return mean


def _joined(parts: list[Measured]) -> Measured:
    first = parts[0]
    return Measured(
        values={name: np.concatenate([one.values[name] for one in parts]) for name in first.values},
        support=first.support,
        confusion=first.confusion,
        accuracy_by_confidence=np.concatenate([one.accuracy_by_confidence for one in parts]),
        mean_confidence=first.mean_confidence,
        images_by_confidence=first.images_by_confidence,
        risk=np.concatenate([one.risk for one in parts]),
    )
