"""Image files: damaged, of another size than the rest, the same file twice; masks."""

from __future__ import annotations

from collections import Counter

import numpy as np

from client.audit.assignment import UNNAMED, Assignment
from client.audit.finding import Finding, Severity, plural
from client.audit.pictures import Pictures
from common.cohort import Cohort


def check_readable(pictures: Pictures) -> list[Finding]:
    """Find images and masks that cannot be decoded."""
    if not pictures.problem:
        return []
    message = f"{plural(len(pictures.problem), 'file')} cannot be read; restore or remove them"
    found = Finding("unreadable", Severity.ERROR, message, len(pictures.problem), pictures.problem)
    return [found]


def check_sizes(cohort: Cohort, pictures: Pictures, input_size: int) -> list[Finding]:
    """Find images of another size than most, or smaller than the network looks at.

    Parameters
    ----------
    cohort : Cohort
        Whose images.
    pictures : Pictures
        What they showed.
    input_size : int
        Side of the square that the backbone looks at, in pixels.
    """
    sizes = Counter(map(tuple, pictures.size[pictures.readable].tolist()))
    if not sizes:
        return []
    findings = []
    # Of two sizes that are as common, the larger one, so that the answer has one value.
    usual = max(sizes, key=lambda size: (sizes[size], size))
    if len(sizes) > 1:
        unusual = len(cohort) - int((~pictures.readable).sum()) - sizes[usual]
        by_site = Counter(
            (*size, site)
            for size, site, readable in zip(
                pictures.size.tolist(), cohort.site.tolist(), pictures.readable, strict=True
            )
            if readable and tuple(size) != usual
        )
        examples = tuple(
            f"{width}x{height} at {site}: {count:,}"
            for (width, height, site), count in by_site.most_common()
        )
        message = (
            f"{plural(unusual, 'image')} of another size than the usual "
            f"{usual[0]}x{usual[1]} ({plural(len(sizes) - 1, 'other size')})"
        )
        findings.append(Finding("sizes", Severity.WARNING, message, unusual, examples))
    small = int((pictures.size[pictures.readable].min(axis=1) < input_size).sum())
    if small:
        message = (
            f"{plural(small, 'image')} smaller than the {input_size} pixels that the backbone "
            "looks at: enlarged when features are computed"
        )
        findings.append(Finding("sizes", Severity.INFO, message, small))
    return findings


def check_masks(cohort: Cohort, pictures: Pictures) -> list[Finding]:
    """Find masks of another size than their image; missing ones are metadata."""
    both = pictures.readable & (pictures.mask_size[:, 0] > 0)
    unlike = both & (pictures.size != pictures.mask_size).any(axis=1)
    if not unlike.any():
        return []
    examples = tuple(
        f"{cohort.image_id[row]} image {_size(pictures.size[row])}, "
        f"mask {_size(pictures.mask_size[row])}"
        for row in np.flatnonzero(unlike)
    )
    message = f"{plural(len(examples), 'mask')} of another size than the image"
    return [Finding("masks", Severity.WARNING, message, len(examples), examples)]


def _size(size: np.ndarray) -> str:
    return f"{size[0]}x{size[1]}"


def check_identical(cohort: Cohort, pictures: Pictures, split: Assignment) -> list[Finding]:
    """Find images that are stored under several ids with the same bytes.

    Of one lesion, such an image only counts twice: a warning. Under two lesions the table is
    wrong: an error, and a leak where the copies straddle the split.
    """
    rows_of: dict[bytes, list[int]] = {}
    for row in np.flatnonzero(pictures.readable).tolist():
        rows_of.setdefault(pictures.digest[row], []).append(row)
    found: dict[Severity, list[str]] = {severity: [] for severity in _IDENTICAL}
    for rows in rows_of.values():
        if len(rows) == 1:
            continue
        if len(set(split.part[rows].tolist()) - {UNNAMED}) > 1:
            severity = Severity.LEAK
        elif len(set(cohort.group[rows].tolist())) > 1:
            severity = Severity.ERROR
        else:
            severity = Severity.WARNING
        found[severity].append(" ".join(cohort.image_id[rows].tolist()))
    return [
        Finding("identical", severity, f"{plural(len(ids), 'image')} {what}", len(ids), tuple(ids))
        for (severity, what), ids in zip(_IDENTICAL.items(), found.values(), strict=True)
        if ids
    ]


_IDENTICAL = {
    Severity.LEAK: "in two parts of the split, byte for byte; keep one id of each",
    Severity.ERROR: "under two lesions, byte for byte; keep one id of each",
    Severity.WARNING: "under several ids of one lesion, byte for byte: such an image counts twice",
}
