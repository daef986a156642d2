"""Evaluation as sums: a confusion matrix and histograms of scores, which add up over sites.

With them travel the same sums over resamples of the site's lesions, coarser, so that the
coordinator has intervals and never a prediction. What a site withholds is its `Disclosure`;
`common.evaluated` turns the sums into metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from common.disclosure import EXACT, Disclosure
from common.errors import ContributionError
from common.learners.base import ArraySpec, Contribution
from common.metrics.lesion_weights import MOST_COPIES
from common.metrics.score_bins import SCORE_BINS, score_bin

if TYPE_CHECKING:
    from common.learners.base import Head

# Histograms of resamples: their own error cancels, as intervals are of differences.
COARSE_BINS = 128
# Histogram of each class's probability, of the malignant classes' together, and of the predicted
# class's; each of two kinds of image: others and own, benign and malignant, wrong and right.
HISTOGRAMS = ("scores", "malignant", "confidence")
Weights = NDArray[np.uint8] | Mapping[str, NDArray[np.uint8]]


def evaluation_spec(
    classes: int, *, malignant: bool = False, draws: int = 0
) -> Mapping[str, ArraySpec]:
    """Describe the sums; `check_evaluation` checks what ties them together.

    ``confusion``: int64, shape (classes, classes), rows the truth; ``withheld``: int64, same
    shape, 1 where the site withholds the cell (it is 0 in ``confusion`` then), else 0;
    ``scores``: int64, shape (classes, 2, SCORE_BINS); ``malignant``, where the cohort tells which
    classes are, and ``confidence``: shape (2, SCORE_BINS). Each has its counterpart over
    resamples, ``drawn_confusion`` and so on, shape (draws, ...), in COARSE_BINS;
    ``drawn_support``, shape (draws, classes), counts the images of each class in the resamples of
    the matrix, those of withheld cells included.

    Parameters
    ----------
    classes : int
        Number of classes.
    malignant : bool
        Whether some of them are known to be malignant.
    draws : int
        Resamples.
    """
    pair, coarse = (2, SCORE_BINS), (2, COARSE_BINS)
    kinds = [name for name in HISTOGRAMS if malignant or name != "malignant"]
    spec = {
        # Counts the images save those withheld.
        "confusion": ArraySpec((classes, classes), "int64", minimum=0),
        "withheld": ArraySpec((classes, classes), "int64", minimum=0),
        "drawn_confusion": ArraySpec((draws, classes, classes), "int64", minimum=0),
        "drawn_support": ArraySpec((draws, classes), "int64", minimum=0),
    }
    for name in kinds:
        lead, times = ((classes,), classes) if name == "scores" else ((), 1)
        # The images of withheld cells would be told apart by the difference.
        counted = 0 if name == "confidence" else times
        spec[name] = ArraySpec((*lead, *pair), "int64", minimum=0, times_counted=counted)
        spec[f"drawn_{name}"] = ArraySpec((draws, *lead, *coarse), "int64", minimum=0)
    return spec


def check_evaluation(sums: Contribution) -> None:
    """Check one site's sums against each other.

    Parameters
    ----------
    sums : Contribution
        Arrays that `common.learners.checked.check_arrays` found to be of `evaluation_spec`.

    Raises
    ------
    ContributionError
        If they are not sums over ``count`` images, of which the withheld cells lack some.
    """
    confusion, withheld = sums.arrays["confusion"], sums.arrays["withheld"]
    if not np.isin(withheld, (0, 1)).all():
        raise ContributionError("withheld: holds values other than 0 and 1")
    if confusion[withheld == 1].any():
        raise ContributionError("confusion: a withheld cell is not 0")
    # As Python's integers, which do not wrap around. None is printed: they may be anything.
    scores = sums.arrays["scores"].sum(axis=2, dtype=object)
    kept = confusion.sum(axis=1, dtype=object)
    hides = (withheld == 1).any(axis=1).tolist()
    for row, (others, own) in enumerate(scores):
        if others + own != sums.count:
            raise ContributionError(f"scores: class {row} does not count each image once")
        if not hides[row] and kept[row] != own:
            raise ContributionError(f"confusion: row {row} does not sum to its class's images")
        if hides[row] and kept[row] >= own:
            raise ContributionError(f"confusion: row {row} has no image left for withheld cells")
    if scores[:, 1].sum() != sums.count:
        raise ContributionError("scores: the classes' own images are not all images")
    wrong, right = sums.arrays["confidence"].sum(axis=1, dtype=object)
    diagonal = np.trace(confusion.astype(object))
    if right != diagonal or wrong + right != kept.sum():
        raise ContributionError("confidence: does not count the images of the confusion matrix")
    _check_drawn(sums.arrays)


def _check_drawn(arrays: Mapping[str, NDArray[np.int64]]) -> None:
    """Refuse resamples that count what the data do not hold, or too often."""
    for name in ("confusion", *(name for name in HISTOGRAMS if name in arrays)):
        data = arrays[name] if name == "confusion" else coarsen(arrays[name])
        if (arrays[f"drawn_{name}"] > MOST_COPIES * data.astype(np.float64)).any():
            raise ContributionError(f"drawn_{name}: counts images that {name} does not hold")
    _check_matrix(arrays)


def _check_matrix(arrays: Mapping[str, NDArray[np.int64]]) -> None:
    """Refuse resamples of the matrix whose rows hold more than their classes, or other images."""
    kept, own = arrays["drawn_confusion"].sum(axis=2), arrays["drawn_support"]
    hides = (arrays["withheld"] == 1).any(axis=1)
    if (kept > own).any() or (kept < own)[:, ~hides].any():
        raise ContributionError("drawn_confusion: does not count the images of drawn_support")
    if (own > MOST_COPIES * arrays["scores"][:, 1].sum(axis=1)).any():
        raise ContributionError("drawn_support: counts images that the classes do not hold")


def coarsen(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Add up SCORE_BINS bins, along the last axis, to COARSE_BINS."""
    starts = -(-np.arange(COARSE_BINS) * SCORE_BINS // COARSE_BINS)
    coarse: NDArray[np.int64] = np.add.reduceat(counts, starts, axis=-1)
    return coarse


def class_probabilities(
    head: Head, classes: tuple[str, ...], x: NDArray[Any]
) -> NDArray[np.float64]:
    """Give probabilities over all classes, 0 for those without training images.

    Parameters
    ----------
    head : Head
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


def evaluation_sums(
    y: NDArray[np.intp],
    probabilities: NDArray[np.float64],
    disclosure: Disclosure = EXACT,
    *,
    malignant: NDArray[np.bool_] | None = None,
    weights: Weights | None = None,
) -> Contribution:
    """Sum over some images.

    Parameters
    ----------
    y : ndarray of intp, shape (n,)
        The truth, of images that ``disclosure.keep`` lets a site sum over.
    probabilities : ndarray of float64, shape (n, k)
        From `class_probabilities`; the largest is the prediction.
    disclosure : Disclosure
        What to withhold. A guarded one moves scores to the mean of at least as many neighbours
        as its minimum, and leaves the images of withheld cells out of the confidences and out of
        the resamples' matrices.
    malignant : ndarray of bool, shape (k,), optional
        Which classes are malignant; None for a cohort that does not tell.
    weights : ndarray of uint8, shape (1 + draws, n), or mapping of str to such, optional
        From `common.metrics.lesion_weights`; by name of `statistic_names`, where each statistic is
        drawn apart from the others. No resamples by default.

    Returns
    -------
    Contribution
        Arrays of `evaluation_spec`.

    Raises
    ------
    ContributionError
        If a class has fewer images than the policy's minimum.
    """
    # The count of images, and the totals that the other cells leave, would tell of them.
    if not disclosure.keep(y).all():
        raise ContributionError(
            f"evaluation: a class has fewer than {disclosure.minimum} images; leave it out"
        )
    n, k = probabilities.shape

    def drawn(name: str) -> NDArray[np.float64]:
        if weights is None:
            return np.zeros((0, n))
        one = weights[name] if isinstance(weights, Mapping) else weights
        return one[1:].astype(np.float64)

    predicted = probabilities.argmax(axis=1)
    confusion = np.zeros((k, k), dtype=np.int64)
    np.add.at(confusion, (y, predicted), 1)
    kept, withheld = disclosure.withhold_cells(confusion)
    shown = withheld[y, predicted] == 0
    cells = np.zeros((n, k * k))
    cells[np.flatnonzero(shown), (y * k + predicted)[shown]] = 1.0
    arrays = {
        "confusion": kept,
        "withheld": withheld,
        "drawn_confusion": _whole(drawn("confusion") @ cells).reshape(-1, k, k),
        "drawn_support": _whole(drawn("confusion") @ np.eye(k)[y]),
    }

    def histogram(
        name: str, score: NDArray[np.float64], own: NDArray[np.bool_], member: NDArray[np.bool_]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return _histogram(score[member], own[member], drawn(name)[:, member], disclosure)

    everything = np.ones(n, dtype=np.bool_)
    parts = [
        histogram(name, probabilities[:, c], y == c, everything)
        for c, name in enumerate(statistic_names(k)[2:-1])
    ]
    arrays["scores"] = np.stack([fine for fine, _ in parts])
    arrays["drawn_scores"] = np.stack([coarse for _, coarse in parts], axis=1)
    if malignant is not None:
        ill = probabilities[:, malignant].sum(axis=1)
        fine, coarse = histogram("malignant", ill, malignant[y], everything)
        arrays["malignant"], arrays["drawn_malignant"] = fine, coarse
    confidence = probabilities.max(axis=1, initial=0.0)
    fine, coarse = histogram("confidence", confidence, y == predicted, shown)
    arrays["confidence"], arrays["drawn_confidence"] = fine, coarse
    return Contribution(n, arrays)


def statistic_names(classes: int) -> tuple[str, ...]:
    """Name what is drawn: the matrix, malignancy, each class's scores and confidence."""
    return ("confusion", "malignant", *(f"scores:{c}" for c in range(classes)), "confidence")


def _histogram(
    score: NDArray[np.float64],
    own: NDArray[np.bool_],
    drawn: NDArray[np.float64],
    disclosure: Disclosure,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Count others and own by score: in the data, and coarser in each resample."""
    bins, kind = score_bin(score), own.astype(np.intp)
    counts = np.zeros((2, SCORE_BINS), dtype=np.int64)
    np.add.at(counts, (kind, bins), 1)
    # Images move to their group's bin before they are drawn, so that no resample parts a group.
    moved = np.stack([disclosure.group_bins(row) for row in counts])[kind, bins]
    merged = np.zeros_like(counts)
    np.add.at(merged, (kind, moved), 1)
    member = np.zeros((len(score), 2 * COARSE_BINS))
    coarse = kind * COARSE_BINS + moved * COARSE_BINS // SCORE_BINS
    member[np.arange(len(score)), coarse] = 1.0
    return merged, _whole(drawn @ member).reshape(-1, 2, COARSE_BINS)


def _whole(counts: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(counts).astype(np.int64)
