"""Scores of candidates: sums over the images of the folds that their models have not seen.

To its last digit, a sum of log losses would say as much as a hostile coordinator wants to know: a
model of its making can give each image a loss at other digits, or all but one image none. A site
under a policy with a minimum of m images therefore tells it as it tells a count of images. No
image adds more than `LOSS_UNIT`, sums are whole numbers of that, and one of 1 to m - 1 units, or
of all that there can be but so many, goes to the nearer end, as of images predicted right
(`common.disclosure.Disclosure.round_parts`). Of a fold of n images, n + 1 answers are possible at
most. As with counts, a single image can tip an answer to the next one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import ContributionError
from common.learners.base import Arrays, ArraySpec, Contribution, SiteData, State
from common.learners.ensemble.members import probabilities
from common.learners.search import fold_scores, hit_spec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.learners.base import Head
    from common.learners.tuning.settings import TunedSettings

SCORE = "tuned.score"
# As scikit-learn's log loss: a probability of 0 counts as this.
_LEAST = float(np.finfo(np.float64).eps)
MOST_LOSS = -float(np.log(_LEAST))
# Where a policy holds, a probability below 1 in 20 counts as that: a larger unit would leave few
# steps between a good model and a bad one.
_LEAST_GUARDED = 0.05
LOSS_UNIT = -float(np.log(_LEAST_GUARDED))
_SAME = 1e-12


@dataclass(frozen=True)
class Tuning:
    """What a search has found.

    Attributes
    ----------
    candidates : tuple of str
        What was set of each.
    metric : str
        Of the scores.
    scores : ndarray of float64, shape (candidates, folds)
        Of each on each held-out fold, the larger the better: of the log loss, its negative; NaN
        where a fold has no image.
    """

    candidates: tuple[str, ...]
    metric: str
    scores: NDArray[np.float64]

    @classmethod
    def of(cls, state: State, settings: TunedSettings) -> Tuning:
        """Read a learner's last state."""
        texts = tuple(one.text for one in settings.candidates_made())
        return cls(texts, settings.metric, state.memory[SCORE])

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean over folds, shape (candidates,)."""
        mean: NDArray[np.float64] = np.nanmean(self.scores, axis=1)
        return mean

    @property
    def standard_error(self) -> NDArray[np.float64]:
        """Standard error of that mean over folds, shape (candidates,)."""
        folds = np.sum(~np.isnan(self.scores), axis=1)
        error: NDArray[np.float64] = np.nanstd(self.scores, axis=1, ddof=1) / np.sqrt(folds)
        return error

    @property
    def chosen(self) -> int:
        """Position of the largest mean; of equal ones, the first."""
        mean = self.mean
        return int((mean >= mean.max() - _SAME).argmax())

    @property
    def note(self) -> str:
        """Say what was chosen."""
        values = -self.mean if self.metric == "log_loss" else self.mean
        of = self.metric.replace("_", " ")
        found = values[self.chosen]
        return f"chose {self.candidates[self.chosen]} by folds: {of} {found:.4f}"


def score_spec(candidates: int, folds: int, classes: int, metric: str) -> Mapping[str, ArraySpec]:
    """Describe what a site tells: images of each fold and class, and of each candidate the sum.

    Of the balanced accuracy these are the images predicted right, which a guarded site rounds as
    of any choice by folds; of the log loss, its sum over each fold, as `sum_scores` rounds it.
    """
    spec = hit_spec((candidates,), folds, classes)
    if metric == "balanced_accuracy":
        return spec
    return {"held": spec["held"], "loss": ArraySpec((candidates, folds), minimum=0.0)}


def check_scores(contribution: Contribution) -> None:
    """Refuse a loss that no images can have.

    Raises
    ------
    ContributionError
        If it is more than that of probabilities of 0.
    """
    if "loss" not in contribution.arrays:
        return
    most = MOST_LOSS * contribution.arrays["held"].sum(axis=1)
    if (contribution.arrays["loss"] > most * (1 + 1e-9)).any():
        raise ContributionError("loss: more than that of images given no probability at all")


def sum_scores(
    data: SiteData, heads: Sequence[Sequence[Head]], classes: NDArray[Any], metric: str
) -> Arrays:
    """Sum over a site's training images, each judged by the models that have not seen its fold.

    Parameters
    ----------
    data : SiteData
        The images, with folds; with a minimum above 1, log losses are capped and rounded.
    heads : sequence of sequence of Head
        Of each candidate, of each fold that was left out.
    classes : ndarray of str
        Names of all classes.
    metric : str
        What is compared.

    Raises
    ------
    ContributionError
        If the images have no folds, or others than there are models of.
    """
    fold = folds_of(data, len(heads[0]))
    shape = (len(heads), len(heads[0]))
    held = np.zeros((shape[1], len(classes)), dtype=np.int64)
    np.add.at(held, (fold, data.y), 1)
    hits, loss = np.zeros((*shape, len(classes)), dtype=np.int64), np.zeros(shape)
    least = _LEAST if data.minimum == 1 else _LEAST_GUARDED
    for one, own in enumerate(heads):
        for left_out, head in enumerate(own):
            rows = np.flatnonzero(fold == left_out)
            p, y = probabilities(head, classes, data.x[rows]), data.y[rows]
            if metric == "log_loss":
                true = p[np.arange(len(y)), y]
                loss[one, left_out] = -np.log(np.clip(true, least, 1.0)).sum()
            elif len(y):
                right = y[head.predict(data.x[rows]) == classes[y]]
                hits[one, left_out] = np.bincount(right, minlength=len(classes))
    if metric != "log_loss":
        return {"held": held, "hits": hits}
    return {"held": held, "loss": _in_units(loss, held.sum(axis=1), data.minimum)}


def _in_units(
    loss: NDArray[np.float64], images: NDArray[np.int64], minimum: int
) -> NDArray[np.float64]:
    """Round sums of losses as counts of images are; as they are under no policy."""
    # The policy's module needs that of learners, which needs this one.
    from common.disclosure import Disclosure

    policy = Disclosure(minimum)
    if policy.exact:
        return loss
    units = np.rint(loss / LOSS_UNIT).astype(np.int64)
    return policy.round_parts(units, images).astype(np.float64) * LOSS_UNIT


def scores_of(total: Contribution) -> NDArray[np.float64]:
    """Give scores from the sums over all sites, shape (candidates, folds)."""
    held = total.arrays["held"]
    if "loss" not in total.arrays:
        return fold_scores(total.arrays["hits"], held)
    images = held.sum(axis=1)
    mean = total.arrays["loss"] / np.maximum(images, 1)
    scores: NDArray[np.float64] = np.where(images > 0, -mean, np.nan)
    return scores


def folds_of(data: SiteData, folds: int) -> NDArray[np.intp]:
    """Give the folds of a site's images.

    Raises
    ------
    ContributionError
        If they have none, or others than `folds`.
    """
    if data.fold is None:
        raise ContributionError("the learner chooses by folds, but the images have none")
    if len(data.fold) and int(data.fold.max()) >= folds:
        raise ContributionError(f"the images have other folds than the learner's {folds}")
    return data.fold
