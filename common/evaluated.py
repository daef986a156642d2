"""From evaluation sums to metrics: what a coordinator knows without a single prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from common.evaluation import COARSE_BINS, HISTOGRAMS, coarsen
from common.metrics import Histogram, Measured, Statistics, make_interval, measure_sums
from common.metrics.ranking import auc_error
from common.metrics.score_bins import bin_values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from common.learners.base import Contribution

# Metrics of predictions, which withheld cells of the confusion matrix can leave open.
_OF_A_CELL = ("specificity", "f1")
_OF_ALL_SCORES = ("macro_auc", "brier_score")
_OF_ALL_CELLS = ("malignant_sensitivity", "malignant_specificity")
# Metrics of confidences, which lack the images of withheld cells: mostly wrong predictions.
_OF_CONFIDENCES = ("calibration_error", "area_under_risk")


def metrics_of_sums(
    sums: Contribution, classes: tuple[str, ...], malignant: tuple[str, ...]
) -> dict[str, Any]:
    """Derive a group's metrics, as ``result.json`` holds them.

    Parameters
    ----------
    sums : Contribution
        Of one site, or the total over some.
    classes, malignant : tuple of str
        All classes, and the malignant ones, if the sites tell.

    Returns
    -------
    dict
        As `metrics_of_confusion`, with ``metrics``, each ``[value, low, high]`` by the names of
        `common.metrics.CATALOGUE`, and ``auc_error``, by how much each class's AUC may be off
        because its scores are counted in bins; a guarded site, which moves scores to the mean of
        their neighbours, may move it further. A metric that withheld cells leave open is None.
    """
    arrays = sums.arrays
    support = arrays["scores"][:, 1].sum(axis=1)
    fine = {name: arrays[name][None] for name in HISTOGRAMS if name in arrays}
    values = bin_values()
    data = _statistics(arrays["confusion"][None], support[None], arrays["withheld"], fine, values)
    found = _known(measure_sums(data, classes, malignant, support), arrays["withheld"])
    # Resamples are coarser: their distance from the data that are as coarse is what counts.
    coarse = {
        name: np.concatenate([coarsen(counts), arrays[f"drawn_{name}"]])
        for name, counts in fine.items()
    }
    confusion = np.concatenate([arrays["confusion"][None], arrays["drawn_confusion"]])
    supports = np.concatenate([support[None], arrays["drawn_support"]])
    middles = values[(2 * np.arange(COARSE_BINS) + 1) * len(values) // (2 * COARSE_BINS)]
    resampled = _statistics(confusion, supports, arrays["withheld"], coarse, middles)
    drawn = _known(measure_sums(resampled, classes, malignant, support), arrays["withheld"])
    metrics = {}
    # Drawn apart, the scores of two classes do not vary together as they should.
    images = arrays["drawn_scores"].sum(axis=(2, 3))
    apart = bool((images != images[:, :1]).any())
    for name, value in found.items():
        if apart and name in _OF_ALL_SCORES:
            metrics[name] = make_interval(value[:1]).as_list()
            continue
        moved = drawn[name] - drawn[name][0] + value[0]
        moved[0] = value[0]
        metrics[name] = make_interval(moved).as_list()
    auc = metrics.get("macro_auc", [None])[0]
    errors = [float(auc_error(one)[0]) for one in data.scores]
    return {
        **metrics_of_confusion(
            arrays["confusion"], auc, classes, support=support, withheld=arrays["withheld"]
        ),
        "metrics": metrics,
        "auc_error": {
            name: error for name, error in zip(classes, errors, strict=True) if np.isfinite(error)
        },
    }


def _statistics(
    confusion: NDArray[np.int64],
    support: NDArray[np.int64],
    withheld: NDArray[np.int64],
    histograms: Mapping[str, NDArray[np.int64]],
    values: NDArray[np.float64],
) -> Statistics:
    """Put sums together; rows that lack withheld images get them in one withheld cell."""
    counts = {name: array.astype(np.float64) for name, array in histograms.items()}
    matrix = confusion.astype(np.float64)
    for row in np.flatnonzero(withheld.any(axis=1)):
        # Off the diagonal where there is such a cell: its column's metrics are left open anyway.
        cells = np.flatnonzero(withheld[row])
        others = cells[cells != row]
        matrix[:, row, others[0] if others.size else row] += support[:, row] - matrix[:, row].sum(1)
    return Statistics(
        confusion=matrix,
        scores=tuple(
            Histogram(values, np.ascontiguousarray(counts["scores"][:, label]))
            for label in range(matrix.shape[1])
        ),
        malignant=Histogram(values, counts["malignant"]) if "malignant" in counts else None,
        confidence=Histogram(values, counts["confidence"]),
    )


def _known(measured: Measured, withheld: NDArray[np.int64]) -> dict[str, NDArray[np.float64]]:
    """Give every metric, NaN where withheld cells leave it open."""
    hidden, diagonal = withheld > 0, np.diag(withheld) > 0
    by_class = dict(measured.by_class)
    by_class["sensitivity"] = np.where(diagonal, np.nan, by_class["sensitivity"])
    for name in _OF_A_CELL:
        by_class[name] = np.where(hidden.any(axis=0), np.nan, by_class[name])
    overall = dict(measured.overall)
    if diagonal.any():
        overall["accuracy"] = np.full_like(overall["accuracy"], np.nan)
    for name in (*_OF_ALL_CELLS, *_OF_CONFIDENCES):
        if name in overall and hidden.any():
            overall[name] = np.full_like(overall[name], np.nan)
    return Measured(
        measured.classes,
        measured.support,
        overall,
        by_class,
        measured.confusion,
        measured.curves,
    ).values()


def metrics_of_confusion(
    confusion: NDArray[np.int64],
    macro_auc: float | None,
    classes: tuple[str, ...],
    support: NDArray[np.int64] | None = None,
    withheld: NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """Derive a group's metrics.

    Parameters
    ----------
    confusion : ndarray of int64, shape (k, k)
        Rows the truth; lacks the images of withheld cells.
    macro_auc : float or None
        Mean one-versus-rest AUC, None where no class has one.
    classes : tuple of str, length k
        Class names.
    support : ndarray of int64, shape (k,), optional
        Images of each class, those of withheld cells included: the totals of the classes' own
        scores. The row sums of ``confusion`` by default.
    withheld : ndarray of int64, shape (k, k), optional
        How many sites withheld each cell; none by default.

    Returns
    -------
    dict
        ``n``; ``accuracy``; ``balanced_accuracy``, the mean sensitivity over the classes that
        the group has (those it lacks are listed in ``classes_absent``, not counted as zero);
        ``macro_auc``; ``images_withheld``. ``accuracy_bounds`` and ``balanced_accuracy_bounds``
        are the lowest and highest values that fit what is known, and where these differ,
        because a cell of the diagonal is withheld, the value itself is None. All metrics are
        None where there is no image.
    """
    rows, right = confusion.sum(axis=1), np.diag(confusion)
    support = rows if support is None else support
    hidden = np.zeros(len(right), dtype=np.bool_) if withheld is None else np.diag(withheld) > 0
    # At best all withheld images of a class are predicted right, at worst none of them.
    most = right + np.where(hidden, support - rows, 0)
    n, present = int(support.sum()), support > 0
    accuracy = balanced = None
    if n:
        accuracy = [float(found.sum() / n) for found in (right, most)]
        balanced = [float((found[present] / support[present]).mean()) for found in (right, most)]
    return {
        "n": n,
        "accuracy": _agreed(accuracy),
        "accuracy_bounds": accuracy,
        "balanced_accuracy": _agreed(balanced),
        "balanced_accuracy_bounds": balanced,
        "macro_auc": macro_auc,
        "classes_absent": [name for name, has in zip(classes, present, strict=True) if not has],
        "confusion": confusion.tolist(),
        "images_withheld": n - int(confusion.sum()),
    }


def _agreed(bounds: list[float] | None) -> float | None:
    """Give the value that both bounds are, if they are one."""
    return bounds[0] if bounds and bounds[0] == bounds[1] else None
