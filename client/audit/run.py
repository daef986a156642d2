"""The audit: all checks of a cohort and its split."""

from __future__ import annotations

from client.audit.assignment import Assignment
from client.audit.cells import check_cells
from client.audit.confounding import check_confounding
from client.audit.finding import Finding, Severity, plural
from client.audit.image_checks import (
    check_identical,
    check_masks,
    check_readable,
    check_sizes,
)
from client.audit.metadata import check_metadata
from client.audit.near_duplicates import check_near_duplicates
from client.audit.pictures import Pictures
from client.audit.straddling import check_lesions, check_published_duplicates, check_sites
from common.cohort import Cohort
from common.errors import CohortError, LeakageError
from common.features import Progress, no_progress


def audit(
    cohort: Cohort,
    split: Assignment,
    pictures: Pictures | None,
    *,
    input_size: int,
    progress: Progress = no_progress,
) -> list[Finding]:
    """Run every check.

    Parameters
    ----------
    cohort : Cohort
        The images and their table.
    split : Assignment
        The split under audit.
    pictures : Pictures or None
        What decoding the images gave; None leaves all checks of images out. Opened without
        hashes, near-duplicates are left out.
    input_size : int
        Side of the square that the backbone looks at, in pixels.
    progress : callable
        Called with (pairs compared, pairs in all) while near-duplicates are looked for.

    Returns
    -------
    list of Finding
        The worst first.
    """
    findings = [
        *check_lesions(cohort, split),
        *check_published_duplicates(cohort, split),
        *check_sites(cohort, split),
        *check_confounding(cohort),
        *check_cells(cohort, split),
        *check_metadata(cohort),
    ]
    if pictures is None:
        findings.append(_left_out("images", "no image was opened: --no-open-images"))
    else:
        findings.extend(check_readable(pictures))
        findings.extend(check_identical(cohort, pictures, split))
        findings.extend(check_sizes(cohort, pictures, input_size))
        findings.extend(check_masks(cohort, pictures))
        if pictures.hashes is None:
            findings.append(_left_out("near-duplicates", "not looked for: --no-near-duplicates"))
        else:
            findings.extend(check_near_duplicates(cohort, pictures, split, progress=progress))
    return sorted(findings, key=lambda finding: finding.severity.rank)


def _left_out(check: str, message: str) -> Finding:
    return Finding(check, Severity.INFO, message, 0)


def require_sound(cohort: Cohort, split: Assignment, findings: list[Finding]) -> None:
    """Fail when the audit found a leak or an error.

    Raises
    ------
    LeakageError
        If there is a leak.
    CohortError
        If there are only errors.
    """
    leaks = [finding for finding in findings if finding.severity is Severity.LEAK]
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    if leaks:
        more = f" and {plural(len(errors), 'error')}" if errors else ""
        raise LeakageError(
            f"{cohort.root}: {plural(len(leaks), 'leak')}{more} ({_checks(leaks + errors)}) in "
            f"the {split.name}, named above; split by lesion and list duplicates before training"
        )
    if errors:
        raise CohortError(
            f"{cohort.root}: {plural(len(errors), 'error')} ({_checks(errors)}), named above; "
            "mend the files or the table"
        )


def _checks(findings: list[Finding]) -> str:
    return ", ".join(dict.fromkeys(f"{finding.check}: {finding.count:,}" for finding in findings))
