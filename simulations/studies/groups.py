"""The groups of test images that a study looks at: one line in `GROUPINGS` for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from simulations.baselines import age_bands

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.cohort import Cohort

ALL, CLIENT, SKIN_TONE = "all", "client", "skin_tone"

# What the cohort's table tells of every image, whoever holds it.
GROUPINGS: Mapping[str, Callable[[Cohort], NDArray[np.str_]]] = {
    ALL: lambda cohort: np.full(len(cohort), ALL),
    "site": lambda cohort: cohort.site,
    "sex": lambda cohort: cohort.sex,
    "age_band": lambda cohort: age_bands(cohort.age),
    "localisation": lambda cohort: cohort.localisation,
    "label_source": lambda cohort: cohort.label_source,
}
