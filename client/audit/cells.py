"""Cells of site and class that are empty or hold a handful of images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from client.audit.assignment import Assignment
from client.audit.finding import Finding, Severity, plural
from common.cohort import Cohort
from common.split import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEW = 5


def check_cells(cohort: Cohort, split: Assignment) -> list[Finding]:
    """Find cells that are empty, or have fewer than 5 images, in all and in the test part."""
    everything = np.ones(len(cohort), dtype=np.bool_)
    findings = _cells(cohort, everything, "")
    test = split.member(Split.TEST)
    return [*findings, *_cells(cohort, test, " in the test part")] if test.any() else findings


def _cells(cohort: Cohort, member: NDArray[np.bool_], where: str) -> list[Finding]:
    count = {
        f"{site} {name}": int((member & (cohort.site == site) & (cohort.y == label)).sum())
        for site in cohort.sites
        for label, name in enumerate(cohort.classes)
    }
    empty = tuple(cell for cell, images in count.items() if not images)
    few = tuple(f"{cell}: {images}" for cell, images in count.items() if 0 < images < FEW)
    findings = []
    if empty:
        message = (
            f"{plural(len(empty), 'cell')} of site and class without an image{where}: "
            "a metric over the classes of the site needs a rule for it"
        )
        findings.append(Finding("cells", Severity.WARNING, message, len(empty), empty))
    if few:
        message = (
            f"{plural(len(few), 'cell')} of site and class with 1 to {FEW - 1} images{where}: "
            "a metric there is of single images"
        )
        findings.append(Finding("cells", Severity.WARNING, message, len(few), few))
    return findings
