"""Metadata that is missing: age, sex, localisation, source of the label, mask."""

from __future__ import annotations

import numpy as np

from client.audit.finding import Finding, Severity
from common.cohort import UNKNOWN, Cohort

# Up to this share a gap is mentioned; beyond, a comparison of groups by it misleads.
_MINOR = 0.05


def check_metadata(cohort: Cohort) -> list[Finding]:
    """Count images without a value, by site."""
    missing = {
        "age": np.isnan(cohort.age),
        "sex": cohort.sex == UNKNOWN,
        "localisation": cohort.localisation == UNKNOWN,
        "label source": cohort.label_source == UNKNOWN,
        "mask": np.array([mask is None for mask in cohort.mask], dtype=np.bool_),
    }
    findings = []
    for field, absent in missing.items():
        count = int(absent.sum())
        if not count:
            continue
        at = {site: int(absent[cohort.site == site].sum()) for site in cohort.sites}
        examples = tuple(f"{site}: {images:,}" for site, images in at.items() if images)
        minor = count <= _MINOR * len(cohort)
        findings.append(
            Finding(
                "metadata",
                Severity.INFO if minor else Severity.WARNING,
                f"{field} missing for {count:,} of {len(cohort):,} images",
                count,
                examples,
            )
        )
    return findings
