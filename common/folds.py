"""Folds for cross-validation: lesions are dealt, each site for itself.

Two ways. By a hash of the lesion alone (`common.split.fold_groups`), a lesion falls into one fold
wherever it is seen. Stratified, each class's images are spread evenly over the folds of a site, as
scikit-learn's ``StratifiedGroupKFold`` does, so that a rare class is in every fold; a lesion that
two sites share may then be in two folds, one at each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from common.split import Split, fold_groups, position

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Dealing:
    """How a learner wants lesions dealt.

    Attributes
    ----------
    folds : int
        How many; 0 for none.
    stratified : bool
        Whether each class is spread evenly over a site's folds.
    """

    folds: int = 0
    stratified: bool = False

    def deal(
        self,
        seed: int,
        groups: NDArray[np.str_],
        y: NDArray[np.intp],
        split: NDArray[np.str_],
    ) -> NDArray[np.intp] | None:
        """Deal a site's lesions, within each part of the split.

        Parameters
        ----------
        seed : int
            The split seed.
        groups, y, split : ndarray, shape (n,)
            Each image's lesion, label and part.

        Returns
        -------
        ndarray of intp, shape (n,), or None
            None where there are no folds.
        """
        if not self.folds:
            return None
        if not self.stratified:
            return fold_groups(seed, groups, self.folds)
        fold = np.zeros(len(groups), dtype=np.intp)
        for part in Split:
            rows = np.flatnonzero(split == part.value)
            fold[rows] = stratified_folds(seed, groups[rows], y[rows], self.folds)
        return fold


NO_FOLDS = Dealing()


def stratified_folds(
    seed: int, groups: Sequence[str] | NDArray[np.str_], y: NDArray[np.intp], folds: int
) -> NDArray[np.intp]:
    """Deal groups to folds, each class's images as evenly as whole groups allow.

    Class by class, the groups with most images first and equal ones by a hash, each to the fold
    with the fewest images of the class, of equal ones to that with the fewest images. In no class
    do folds then differ by more images than its largest group has, where groups are of one class;
    a group of several counts as the one that most of its images are of. Neither the order of the
    rows nor another site moves a group; other images of this site may.

    Parameters
    ----------
    seed : int
        The split seed.
    groups : sequence of str, length n
        Each image's group.
    y : ndarray of intp, shape (n,)
        Labels.
    folds : int
        Number of folds.

    Returns
    -------
    ndarray of intp, shape (n,)
    """
    names, group_of = np.unique(np.asarray(groups, dtype=np.str_), return_inverse=True)
    if not len(names):
        return np.zeros(0, dtype=np.intp)
    count = np.zeros((len(names), int(y.max()) + 1), dtype=np.intp)
    np.add.at(count, (group_of, y), 1)
    size, label = count.sum(axis=1), count.argmax(axis=1)
    order = sorted(
        range(len(names)),
        key=lambda one: (label[one], -size[one], position(seed, f"fold:{names[one]}")),
    )
    held = np.zeros((count.shape[1], folds), dtype=np.intp)
    fold_of = np.zeros(len(names), dtype=np.intp)
    for one in order:
        own = held[label[one]]
        fold_of[one] = min(range(folds), key=lambda fold: (own[fold], held[:, fold].sum(), fold))
        held[:, fold_of[one]] += count[one]
    return fold_of[group_of]
