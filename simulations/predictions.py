"""Every image's prediction, which only a simulation may see, and the exact metrics from them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import confusion_matrix, roc_auc_score

from common.evaluated import metrics_of_confusion

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from simulations.site_host import SitePredictions


@dataclass(frozen=True)
class Predictions:
    """All sites' predictions, in the order of the cohort's rows.

    Attributes
    ----------
    rows : ndarray of intp, shape (n,)
        Positions in the cohort; unreadable images are missing.
    client : ndarray of str, shape (n,)
        The simulated site of each image.
    split : ndarray of str, shape (n,)
        Its part of the split.
    probabilities : ndarray of float64, shape (n, classes)
        The model's.
    x : ndarray of float32, shape (n, dimension)
        Features.
    kept : ndarray of bool, shape (n,)
        Images that the sites' disclosure policies let them sum over.
    """

    rows: NDArray[np.intp]
    client: NDArray[np.str_]
    split: NDArray[np.str_]
    probabilities: NDArray[np.float64]
    x: NDArray[np.float32]
    kept: NDArray[np.bool_]


def gather(parts: list[SitePredictions], split: NDArray[np.str_]) -> Predictions:
    """Put the sites' predictions into the cohort's order.

    Parameters
    ----------
    parts : list of SitePredictions
        One a site.
    split : ndarray of str
        Part of the split of every row of the cohort.
    """
    rows = np.concatenate([part.rows for part in parts])
    order = np.argsort(rows)
    client = np.repeat([part.name for part in parts], [len(part.rows) for part in parts])
    probabilities = np.concatenate([part.probabilities for part in parts])
    x = np.concatenate([part.x for part in parts])
    kept = np.concatenate([part.kept for part in parts])
    rows = rows[order]
    return Predictions(
        rows, client[order], split[rows], probabilities[order], x[order], kept[order]
    )


def exact_metrics(
    y: NDArray[np.intp], probabilities: NDArray[np.float64], classes: tuple[str, ...]
) -> dict[str, Any]:
    """Compute a group's metrics from its predictions, with scikit-learn.

    Parameters
    ----------
    y : ndarray of intp, shape (n,)
        The truth.
    probabilities : ndarray of float64, shape (n, k)
        The largest is the prediction.
    classes : tuple of str, length k
        Class names.

    Returns
    -------
    dict
        As `common.evaluation.metrics_of_confusion`, with the exact AUC.
    """
    labels = np.arange(len(classes))
    if not len(y):
        empty = np.zeros((len(classes), len(classes)), dtype=np.int64)
        return metrics_of_confusion(empty, None, classes)
    confusion = confusion_matrix(y, probabilities.argmax(axis=1), labels=labels)
    aucs = [
        roc_auc_score(y == label, probabilities[:, label])
        for label in labels
        if 0 < (y == label).sum() < len(y)
    ]
    return metrics_of_confusion(confusion, float(np.mean(aucs)) if aucs else None, classes)
