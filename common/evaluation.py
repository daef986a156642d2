"""Evaluation as sums: a confusion matrix and binned scores, which add up over sites."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from common.learners.base import ArraySpec, Contribution

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.learners.linear_head import LinearHead

# One-versus-rest scores are counted in bins of this width; see `binned_macro_auc`.
SCORE_BINS = 1024


def evaluation_spec(classes: int) -> Mapping[str, ArraySpec]:
    """Describe the sums.

    ``confusion``: int64, shape (classes, classes), rows the truth; ``score_bins``: int64, shape
    (classes, 2, SCORE_BINS), of each class's probability for images of the others and its own.
    """
    return {
        "confusion": ArraySpec((classes, classes), "int64", minimum=0, times_counted=1),
        "score_bins": ArraySpec(
            (classes, 2, SCORE_BINS), "int64", minimum=0, times_counted=classes
        ),
    }


def class_probabilities(
    head: LinearHead, classes: tuple[str, ...], x: NDArray[Any]
) -> NDArray[np.float64]:
    """Give probabilities over all classes, 0 for those without training images.

    Parameters
    ----------
    head : LinearHead
        Fitted on class names.
    classes : tuple of str, length k
        All classes, in the order wanted.
    x : ndarray, shape (n, dimension)
        Features.

    Returns
    -------
    ndarray of float64, shape (n, k)
    """
    probabilities = np.zeros((len(x), len(classes)))
    if len(x):
        columns = [classes.index(str(name)) for name in head.classes_]
        probabilities[:, columns] = head.predict_proba(x)
    return probabilities


def evaluation_sums(y: NDArray[np.intp], probabilities: NDArray[np.float64]) -> Contribution:
    """Sum over some images.

    Parameters
    ----------
    y : ndarray of intp, shape (n,)
        The truth.
    probabilities : ndarray of float64, shape (n, k)
        From `class_probabilities`; the largest is the prediction.
    """
    classes = probabilities.shape[1]
    confusion = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(confusion, (y, probabilities.argmax(axis=1)), 1)
    bins = np.minimum((probabilities * SCORE_BINS).astype(np.intp), SCORE_BINS - 1)
    counts = np.zeros((classes, 2, SCORE_BINS), dtype=np.int64)
    own = (y[:, None] == np.arange(classes)).astype(np.intp)
    np.add.at(counts, (np.arange(classes)[None, :], own, bins), 1)
    return Contribution(len(y), {"confusion": confusion, "score_bins": counts})


def metrics_of_confusion(
    confusion: NDArray[np.int64], macro_auc: float | None, classes: tuple[str, ...]
) -> dict[str, Any]:
    """Derive a group's metrics.

    Parameters
    ----------
    confusion : ndarray of int64, shape (k, k)
        Rows the truth.
    macro_auc : float or None
        Mean one-versus-rest AUC, None where no class has one.
    classes : tuple of str, length k
        Class names.

    Returns
    -------
    dict
        ``n``; ``accuracy``; ``balanced_accuracy``, the mean sensitivity over the classes that
        the group has (those it lacks are listed in ``classes_absent``, not counted as zero);
        ``macro_auc``. None where there is no image.
    """
    support = confusion.sum(axis=1)
    n, present = int(support.sum()), support > 0
    sensitivity = np.diag(confusion)[present] / support[present]
    return {
        "n": n,
        "accuracy": float(np.trace(confusion) / n) if n else None,
        "balanced_accuracy": float(sensitivity.mean()) if n else None,
        "macro_auc": macro_auc,
        "classes_absent": [name for name, has in zip(classes, present, strict=True) if not has],
        "confusion": confusion.tolist(),
    }


def binned_macro_auc(score_bins: NDArray[np.int64]) -> float | None:
    """Compute the mean one-versus-rest AUC from binned scores.

    The Mann-Whitney statistic with scores of one bin counted as ties: each class's AUC is off by
    at most half the share of (own, other) pairs that fall into one bin.

    Parameters
    ----------
    score_bins : ndarray of int64, shape (k, 2, SCORE_BINS)
        From `evaluation_sums`.

    Returns
    -------
    float or None
        Over the classes that have images of their own and of others; None where there is none.
    """
    aucs = []
    for others, own in score_bins.astype(np.float64):
        pairs = others.sum() * own.sum()
        if pairs:
            below = np.cumsum(others) - others
            aucs.append(float(own @ (below + others / 2) / pairs))
    return float(np.mean(aucs)) if aucs else None
