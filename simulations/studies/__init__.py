"""The studies by name: one file and one line here for each."""

from __future__ import annotations

from collections.abc import Mapping

from simulations.studies import (
    cross_site,
    fairness,
    fine_tuning,
    fusion,
    heterogeneity,
    learning_curve,
    leave_one_site_out,
)
from simulations.studies.base import Study

STUDIES: Mapping[str, Study] = {
    study.name: study
    for study in (
        leave_one_site_out.STUDY,
        cross_site.STUDY,
        heterogeneity.STUDY,
        fairness.STUDY,
        learning_curve.STUDY,
        fusion.STUDY,
        fine_tuning.STUDY,
        fine_tuning.STUDY_WITHOUT,
    )
}
