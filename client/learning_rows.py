"""What a site learns from: the images that its policy lets it sum over, treated as a run asks."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from common.imbalance import Resampled, Treatment, resample
from common.imbalance.check import refuse_folds
from common.split import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.disclosure import Disclosure
    from common.learners.base import SiteData


def disclosed(
    disclosure: Disclosure,
    y: NDArray[np.intp],
    split: NDArray[np.str_],
    fold: NDArray[np.intp] | None,
) -> NDArray[np.bool_]:
    """Tell which images may be summed over: one answer for all of a run's sums.

    With two, the difference of the sums would be the images that one of them withholds.

    Parameters
    ----------
    disclosure : Disclosure
        The policy.
    y, split : ndarray, shape (n,)
        Labels, and parts of the split.
    fold : ndarray of intp, shape (n,), or None
        Folds, where the learner chooses by them.
    """
    kept = np.zeros(len(y), dtype=np.bool_)
    for part in Split:
        rows = np.flatnonzero(split == part.value)
        cells = [y[rows]]
        if fold is not None and part is Split.TRAIN:
            cells.append(fold[rows])
        kept[rows] = disclosure.keep(*cells)
    return kept


def withheld(
    kept: NDArray[np.bool_],
    split: NDArray[np.str_],
    y: NDArray[np.intp],
    fold: NDArray[np.intp] | None,
    classes: tuple[str, ...],
) -> tuple[str, ...]:
    """Name the cells that the policy keeps back: part, class and, where there is one, fold.

    Parameters
    ----------
    kept : ndarray of bool, shape (n,)
        Of `disclosed`.
    split, y, fold
        As there.
    classes : tuple of str
        Class names.
    """
    names = set()
    for row in np.flatnonzero(~kept):
        part = str(split[row])
        name = f"{part}:{classes[y[row]]}"
        by_fold = fold is not None and part == Split.TRAIN.value
        names.add(f"{name}:{fold[row]}" if by_fold and fold is not None else name)
    return tuple(sorted(names))


def treated(
    data: SiteData,
    treatment: Treatment,
    classes: tuple[str, ...],
    disclosure: Disclosure,
    key: bytes,
) -> Resampled | None:
    """Treat a site's training images, the same way whenever it is asked for.

    Parameters
    ----------
    data : SiteData
        Those that may be summed over.
    treatment : Treatment
        What to do.
    classes : tuple of str
        Class names.
    disclosure : Disclosure
        The policy. A guarded site draws by its own key: with draws that the coordinator can
        repeat, the sums of some treatments would tell single images.
    key : bytes
        The site's.

    Returns
    -------
    Resampled or None
        None where there is no treatment.

    Raises
    ------
    SettingsError
        If the treatment goes with folds at a guarded site.
    """
    refuse_folds(treatment, folds=data.fold is not None, guarded=not disclosure.exact)
    if treatment.kind == "none":
        return None
    seed = None
    if not disclosure.exact:
        digest = blake2b(key + b"\0imbalance\0" + treatment.text.encode(), digest_size=4)
        seed = int.from_bytes(digest.digest(), "big")
    return resample(data, treatment, classes, seed=seed, minimum=disclosure.minimum)


def own_key(x: NDArray[np.float32]) -> bytes:
    """Make a key of features: new draws for each message would add up to more than one's tell."""
    return blake2b(x.tobytes(), digest_size=16).digest()
