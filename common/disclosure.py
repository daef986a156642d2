"""What a site withholds before it answers: a threshold on every sum, whatever the learner.

Under a policy with a minimum of m images

- no sum is over 1 to m - 1 images of a class, or of a finer cell such as (class, fold): those
  images are left out of every sum (`Disclosure.keep`);
- no count of a confusion matrix is 1 to m - 1, nor do the row totals give such a count away by
  subtraction (`Disclosure.withhold_cells`);
- no count of images predicted right, nor of those predicted wrong, is 1 to m - 1 where a learner
  chooses a setting by folds: it is rounded (`Disclosure.round_parts`);
- no bin of a histogram holds 1 to m - 1 images (`Disclosure.merge_bins`).

What it does not give:

- It is no differential privacy. Of two runs, before and after one image came, the difference of
  the sums is that image; who knows all but one of the images of a sum knows that one, too.
- A sum over m images still tells about them: their mean, and with a matrix of products more.
- It counts images, not patients: m images may all show one lesion.
- That something was withheld is told, and with it that there are few such images.
- A withheld count is no secret number: it can be narrowed down; see `Disclosure.withhold_cells`.
- Resamples of an evaluation tell more than the sums that they are of. Within a statistic, the
  covariance of two bins over the draws tells of lesions that have images in both. Statistics are
  drawn apart, as their covariance would be the number of images that both hold, below the
  minimum, too. Asking again gives the same draws again, and another model others.
- Where sites share a key, the covariance of their sums tells whether they have lesions in common,
  and one site that gives the key away gives away for all which lesions they hold.
- Scores that move to the mean of their neighbours move metrics: the fewer images, the more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from common.errors import SettingsError
from common.learners.base import ArraySpec, Contribution
from common.limits import DEFAULT_MINIMUM

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Disclosure:
    """A policy: exact with a minimum of 1, which withholds nothing; else guarded.

    Attributes
    ----------
    minimum : int
        Fewest images that any sum, count or bin shows, other than none.

    Raises
    ------
    SettingsError
        If the minimum is below 1.
    """

    minimum: int = 1

    def __post_init__(self) -> None:
        if self.minimum < 1:
            raise SettingsError(
                f"disclosure: a minimum of {self.minimum} images; it must be 1 or more"
            )

    @property
    def exact(self) -> bool:
        """Whether nothing is withheld."""
        return self.minimum == 1

    def keep(self, *cells: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Tell which images a site may sum over.

        One answer has to serve all sums of a run: the difference of sums over the images kept by
        class and over those kept by (class, fold) would be the small cells between them.

        Parameters
        ----------
        *cells : ndarray of intp, shape (n,)
            At least one column, such as the class and the fold; an image's cell is its
            combination of values.

        Returns
        -------
        ndarray of bool, shape (n,)
            Whether the image's cell holds at least ``minimum`` images. Cells go as a whole, so
            every sum over cells that are left, such as a class, holds as many, too.
        """
        columns = np.stack(cells)
        _, cell, counts = np.unique(columns, axis=1, return_inverse=True, return_counts=True)
        # NumPy 2.0 gives the inverse along an axis one more dimension than others do.
        kept: NDArray[np.bool_] = (counts >= self.minimum)[cell.reshape(-1)]
        return kept

    def withhold_cells(
        self, confusion: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Withhold the small counts of a confusion matrix, and what would give them away.

        The coordinator knows the row totals from the score histograms. Where the small cells of
        a row hold fewer than ``minimum`` images together, the smallest other cell off the
        diagonal goes, too, and the diagonal's if there is none (complementary suppression).

        The coordinator can derive, of each row, how many images were withheld, and that each
        withheld cell holds at least one: as many images as cells means one in each. It cannot
        subtract its way to fewer than ``minimum`` images. No column totals are sent, and the
        histograms are of probabilities, not of predictions; yet these are related. Probabilities
        add up to 1, so an image above 1/2 is predicted to be of the class, and one below 1/k is
        not. Of two classes, unmerged histograms thus tell the whole matrix, save for
        probabilities of exactly 1/2; of more, they bound the diagonal (own images) and the rest
        of each column (the others'). `merge_bins` blurs this by a group of at least ``minimum``
        images about either threshold. Whoever combines such bounds with this rule narrows a
        withheld count down, at times to one value: it is a threshold, not a bound on inference.

        Parameters
        ----------
        confusion : ndarray of int64, shape (k, k)
            Rows the truth, each with no image or at least ``minimum``: those of `keep`. A row
            with fewer is withheld as a whole, its empty cells included.

        Returns
        -------
        kept : ndarray of int64, shape (k, k)
            The matrix, 0 where a cell is withheld.
        withheld : ndarray of int64, shape (k, k)
            1 where a cell is withheld, else 0.
        """
        withheld = (confusion > 0) & (confusion < self.minimum)
        for truth, row in enumerate(confusion):
            if 0 < row.sum() < self.minimum:
                withheld[truth] = True
            elif 0 < row[withheld[truth]].sum() < self.minimum:
                # Any cell left holds at least the minimum: one is enough.
                left = np.flatnonzero((row > 0) & ~withheld[truth])
                others = left[left != truth]
                withheld[truth, others[row[others].argmin()] if others.size else truth] = True
        return np.where(withheld, 0, confusion), withheld.astype(np.int64)

    def round_parts(self, part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.int64]:
        """Move counts off those that tell of fewer than the minimum.

        A part of 1 to ``minimum - 1`` images, or of all but so many, goes to the nearer of 0 and
        the minimum, or of their complements; so does one of a whole that is smaller than twice
        the minimum, to 0 or to all. A fold's hits are so rounded, where withholding would bias
        the choice towards what fails or succeeds seldom.

        Parameters
        ----------
        part : ndarray of int64, shape (..., *whole.shape)
            Counts.
        whole : ndarray of int64
            What they are parts of, from `keep`: none is from 1 to ``minimum - 1``.
        """
        if self.exact:
            return part
        whole = np.broadcast_to(whole, part.shape)
        least = np.minimum(self.minimum, whole)
        low, high = part < least, whole - part < least
        # Halves go up for parts and their complements alike, so that neither is favoured.
        up, down = 2 * part >= least, 2 * (whole - part) >= least
        rounded = np.where(low, np.where(up, least, 0), part)
        rounded = np.where(high & ~low, np.where(down, whole - least, whole), rounded)
        ends = np.where(2 * part >= whole, whole, 0)
        return np.where((whole < 2 * self.minimum) & (low | high), ends, rounded)

    def apply(self, contribution: Contribution, spec: Mapping[str, ArraySpec]) -> Contribution:
        """Hide the small counts of a learner's contribution, as its specification names them."""
        arrays = {
            name: self.round_parts(array, contribution.arrays[spec[name].part_of])
            if spec[name].part_of
            else array
            for name, array in contribution.arrays.items()
        }
        return Contribution(contribution.count, arrays)

    def merge_bins(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Merge adjacent bins into groups of at least ``minimum`` images.

        Univariate micro-aggregation of the binned values: J. Domingo-Ferrer and J. M. Mateo-Sanz,
        "Practical data-oriented microaggregation for statistical disclosure control", IEEE TKDE
        14(1), 2002; here with groups filled from below, a bin never being shared out.

        Parameters
        ----------
        counts : ndarray of int64, shape (..., bins)
            Histograms along the last axis.

        Returns
        -------
        ndarray of int64, shape (..., bins)
            Each group's images at the mean of their bins, rounded (halves up); a last group that
            stays too small joins the one before it. Totals and the order of groups are kept. A
            histogram with fewer than ``minimum`` images in all is empty.
        """
        if self.exact:
            return counts
        merged = np.zeros_like(counts)
        for index in np.ndindex(counts.shape[:-1]):
            if counts[index].sum() >= self.minimum:
                np.add.at(merged[index], self.group_bins(counts[index]), counts[index])
        return merged

    def group_bins(self, counts: NDArray[np.int64]) -> NDArray[np.intp]:
        """Tell where `merge_bins` moves each bin's images.

        Parameters
        ----------
        counts : ndarray of int64, shape (bins,)
            A histogram.

        Returns
        -------
        ndarray of intp, shape (bins,)
            The bin at the mean of each bin's group; an empty bin, and every bin of a histogram
            that holds too few images, stays where it is.
        """
        target = np.arange(len(counts))
        bins = np.flatnonzero(counts)
        starts = self._group_starts(counts[bins].tolist())
        if starts and not self.exact:
            totals = np.add.reduceat(counts[bins], starts)
            moments = np.add.reduceat(counts[bins] * bins, starts)
            # Means of separate stretches of bins, so no two groups meet in one bin.
            means = (2 * moments + totals) // (2 * totals)
            group = np.searchsorted(starts, np.arange(len(bins)), side="right") - 1
            target[bins] = means[group]
        return target

    def _group_starts(self, held: list[int]) -> list[int]:
        """Tell where each group begins; none where all together are too few."""
        starts, start, images = [], 0, 0
        for position, count in enumerate(held):
            images += count
            if images >= self.minimum:
                starts.append(start)
                start, images = position + 1, 0
        return starts


EXACT = Disclosure()
GUARDED = Disclosure(DEFAULT_MINIMUM)
