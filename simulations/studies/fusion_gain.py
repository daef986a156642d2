"""What fusion gains, and the site's share of it.

A site's code is worth something wherever classes differ in frequency between sites, and metadata
that differ between sites are in part such a code. What metadata add to a model that has the code
already cannot be the code: the share is what of the gain is lost then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from common.metrics import make_interval
from simulations.studies.cells import COMPARED, Evaluated

if TYPE_CHECKING:
    from numpy.typing import NDArray

Json = dict[str, Any]
# A site's code shifts the thresholds between classes, by which a share of correct answers jumps up
# and down; a ranking within each class is what a share can be told of.
_RANKINGS = ("macro_auc", "malignant_auc")
_NOTHING: list[float | None] = [None, None, None]


@dataclass(frozen=True)
class Names:
    """The conditions that a gain is made of.

    Attributes
    ----------
    images, fused, images_site, fused_site : str
        Images alone; with metadata; with the site; with both.
    """

    images: str
    fused: str
    images_site: str
    fused_site: str


def gains(
    learners: Sequence[str], found: Mapping[tuple[str, str, str], Evaluated], names: Names
) -> list[Json]:
    """Give the gains of each learner, by metric, over all test images and as means over sites.

    Parameters
    ----------
    learners : sequence of str
        The study's.
    found : mapping of (learner, model, condition) to Evaluated
        All series, resampled alike.
    names : Names
        The conditions.

    Returns
    -------
    list of dict
        ``gain``, of metadata over images alone; ``site_gain``, of the site over images alone;
        ``remaining``, of metadata where the site is known; ``through_site``, gain less remaining;
        ``share``, that over the gain, of an AUC whose gain's interval is above 0: each with its
        interval. ``over`` is ``all`` images, or ``sites``: their mean, each counting the same.
    """
    entries = []
    for learner in learners:
        each = [
            found[learner, "federated", one]
            for one in (names.images, names.fused, names.images_site, names.fused_site)
        ]
        for metric in COMPARED:
            for over, by in (("all", "all"), ("sites", "site")):
                values = _values(each, by, metric)
                if values is not None:
                    about = {"learner": learner, "metric": metric, "over": over}
                    entries.append({**about, **_of(*values, ranks=metric in _RANKINGS)})
    return entries


def _values(each: Sequence[Evaluated], by: str, metric: str) -> list[NDArray[np.float64]] | None:
    """Give each condition's value, as a mean over the groups in which all have one."""
    draws = [one.draws[by, metric] for one in each]
    groups = [group for group in draws[0] if all(np.isfinite(one[group][0]) for one in draws)]
    if not groups:
        return None
    return [np.mean([one[group] for group in groups], axis=0) for one in draws]


def _of(
    images: NDArray[np.float64],
    fused: NDArray[np.float64],
    images_site: NDArray[np.float64],
    fused_site: NDArray[np.float64],
    *,
    ranks: bool,
) -> Json:
    gain, remaining = fused - images, fused_site - images_site
    interval = make_interval(gain)
    share = _NOTHING
    if ranks and interval.low is not None and interval.low > 0:
        # Draws without a gain have no share of it.
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(gain > 0, 1.0 - remaining / gain, np.nan)
        share = make_interval(ratio).as_list()
    return {
        "gain": interval.as_list(),
        "site_gain": make_interval(images_site - images).as_list(),
        "remaining": make_interval(remaining).as_list(),
        "through_site": make_interval(gain - remaining).as_list(),
        "share": share,
    }
