"""Evaluation as sums: a confusion matrix and binned scores, which add up over sites.

What a site withholds of them is its `Disclosure`; the metrics are then intervals, not guesses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from common.disclosure import EXACT, Disclosure
from common.errors import ContributionError
from common.learners.base import ArraySpec, Contribution

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.learners.linear_head import LinearHead

# One-versus-rest scores are counted in bins of this width; see `binned_macro_auc`.
SCORE_BINS = 1024


def evaluation_spec(classes: int) -> Mapping[str, ArraySpec]:
    """Describe the sums; `check_evaluation` checks what ties them together.

    ``confusion``: int64, shape (classes, classes), rows the truth; ``withheld``: int64, same
    shape, 1 where the site withholds the cell (it is 0 in ``confusion`` then), else 0;
    ``score_bins``: int64, shape (classes, 2, SCORE_BINS), of each class's probability for images
    of the others and its own.
    """
    return {
        # Counts the images save those withheld.
        "confusion": ArraySpec((classes, classes), "int64", minimum=0),
        "withheld": ArraySpec((classes, classes), "int64", minimum=0),
        "score_bins": ArraySpec(
            (classes, 2, SCORE_BINS), "int64", minimum=0, times_counted=classes
        ),
    }


def check_evaluation(sums: Contribution) -> None:
    """Check one site's sums against each other.

    Parameters
    ----------
    sums : Contribution
        Arrays that `common.learners.base.check_arrays` found to be of `evaluation_spec`.

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
    scores = sums.arrays["score_bins"].sum(axis=2, dtype=object)
    kept = confusion.sum(axis=1, dtype=object)
    hides = (withheld == 1).any(axis=1).tolist()
    for row, (others, own) in enumerate(scores):
        if others + own != sums.count:
            raise ContributionError(f"score_bins: class {row} does not count each image once")
        if not hides[row] and kept[row] != own:
            raise ContributionError(f"confusion: row {row} does not sum to its class's images")
        if hides[row] and kept[row] >= own:
            raise ContributionError(f"confusion: row {row} has no image left for withheld cells")
    if scores[:, 1].sum() != sums.count:
        raise ContributionError("score_bins: the classes' own images are not all images")


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


def evaluation_sums(
    y: NDArray[np.intp], probabilities: NDArray[np.float64], disclosure: Disclosure = EXACT
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
        as its minimum: the AUC is then that of the moved scores.

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
    classes = probabilities.shape[1]
    confusion = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(confusion, (y, probabilities.argmax(axis=1)), 1)
    bins = np.minimum((probabilities * SCORE_BINS).astype(np.intp), SCORE_BINS - 1)
    counts = np.zeros((classes, 2, SCORE_BINS), dtype=np.int64)
    own = (y[:, None] == np.arange(classes)).astype(np.intp)
    np.add.at(counts, (np.arange(classes)[None, :], own, bins), 1)
    kept, withheld = disclosure.withhold_cells(confusion)
    score_bins = disclosure.merge_bins(counts)
    return Contribution(len(y), {"confusion": kept, "withheld": withheld, "score_bins": score_bins})


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
