"""The images of one site of a cohort."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from common.errors import CohortError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.cohort import Cohort


def rows_of_site(cohort: Cohort, site: str) -> NDArray[np.intp]:
    """Give the rows of a site's images: all of them where the cohort tells no sites apart.

    Parameters
    ----------
    cohort : Cohort
        The table.
    site : str
        The site's name.

    Raises
    ------
    CohortError
        If the cohort names sites, and this is none of them.
    """
    if not cohort.sites_known:
        return np.arange(len(cohort))
    if site not in cohort.sites:
        raise CohortError(
            f"site {site}: not in {cohort.root}; sites there: {', '.join(cohort.sites)}, "
            f"by {cohort.sites_told_by}"
        )
    return np.flatnonzero(cohort.site == site)
