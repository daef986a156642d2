"""How much the site alone tells about the class, and about how the label was made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from client.audit.finding import Finding, Severity
from common.cohort import UNKNOWN, Cohort

if TYPE_CHECKING:
    from numpy.typing import NDArray

# From here on it is a warning: Cohen's medium effect of 0.3, and an AUC that a weak model has.
MEDIUM_V, HIGH_AUC = 0.3, 0.7
_NEARLY_ALL = 0.9


def check_confounding(cohort: Cohort) -> list[Finding]:
    """Report how far the site predicts the class, and the source of the label."""
    if len(cohort.sites) < 2:
        message = "one site only: site and class cannot be confounded here"
        return [Finding("confounding", Severity.INFO, message, 0)]
    site = np.searchsorted(np.array(cohort.sites), cohort.site)
    findings = [_site_and_class(cohort, site)]
    sources, source = np.unique(cohort.label_source, return_inverse=True)
    if sources.tolist() != [UNKNOWN]:
        findings.append(_site_and_source(cohort, site, sources.tolist(), source))
    return findings


def _site_and_class(cohort: Cohort, site: NDArray[np.intp]) -> Finding:
    counts = table(site, cohort.y)
    aucs = {
        name: auc
        for label, name in enumerate(cohort.classes)
        if (auc := site_alone_auc(site, cohort.y == label)) is not None
    }
    v = cramers_v(counts)
    high = sum(auc >= HIGH_AUC for auc in aucs.values())
    message = (
        f"site and class: Cramér's V {v:.2f}; the site alone tells {high} of {len(aucs)} classes "
        f"from the rest with an AUC of {HIGH_AUC} or more: report it as a baseline"
    )
    severity = Severity.WARNING if v >= MEDIUM_V or high else Severity.INFO
    ranked = sorted(aucs.items(), key=lambda item: -item[1])
    examples = tuple(f"{name} {auc:.2f}" for name, auc in ranked)
    return Finding("confounding", severity, message, high, examples)


def _site_and_source(
    cohort: Cohort, site: NDArray[np.intp], sources: Sequence[str], source: NDArray[np.intp]
) -> Finding:
    counts = table(site, source)
    v = cramers_v(counts)
    share = counts / counts.sum(axis=1, keepdims=True)
    one_way = tuple(
        f"{name} {row.max():.0%} {sources[int(row.argmax())]}"
        for name, row in zip(cohort.sites, share, strict=True)
        if row.max() >= _NEARLY_ALL
    )
    message = (
        f"site and source of the label: Cramér's V {v:.2f}; {len(one_way)} of {len(cohort.sites)} "
        f"sites label {_NEARLY_ALL:.0%} or more in one way"
    )
    severity = Severity.WARNING if v >= MEDIUM_V or one_way else Severity.INFO
    return Finding("confounding", severity, message, len(one_way), one_way)


def table(rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.intp]:
    """Count pairs of codes.

    Parameters
    ----------
    rows, columns : ndarray of intp, shape (n,)
        Codes from 0.

    Returns
    -------
    ndarray of intp, shape (r, k)
    """
    counts = np.zeros((int(rows.max()) + 1, int(columns.max()) + 1), dtype=np.intp)
    np.add.at(counts, (rows, columns), 1)
    return counts


def cramers_v(counts: NDArray[np.intp]) -> float:
    """Measure association in a contingency table by Cramér's V, corrected for bias.

    W. Bergsma, *A bias-correction for Cramér's V and Tschuprow's T*, Journal of the Korean
    Statistical Society 42 (2013), 323-328. Empty rows and columns do not count.

    Parameters
    ----------
    counts : ndarray of int, shape (r, k)
        The table.

    Returns
    -------
    float
        0 (independent) to 1; 0 where fewer than two rows or columns hold anything.
    """
    held = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0].astype(np.float64)
    n = held.sum()
    r, k = held.shape
    if min(r, k) < 2:
        return 0.0
    expected = held.sum(axis=1, keepdims=True) * held.sum(axis=0, keepdims=True) / n
    phi2 = float((np.square(held - expected) / expected).sum() / n)
    corrected = max(0.0, phi2 - (r - 1) * (k - 1) / (n - 1))
    smaller = min(r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)) - 1
    return float(np.sqrt(corrected / smaller)) if smaller > 0 else 0.0


def site_alone_auc(site: NDArray[np.intp], positive: NDArray[np.bool_]) -> float | None:
    """Give the AUC of the site as the only predictor of a class, in sample.

    The score of an image is the share of the class at its site, so the AUC is the best that any
    score of the site alone reaches on these images.

    Parameters
    ----------
    site : ndarray of intp, shape (n,)
        Codes from 0.
    positive : ndarray of bool, shape (n,)
        Which images are of the class.

    Returns
    -------
    float or None
        0.5 to 1; None where all images are of the class, or none.
    """
    counts = table(site, positive.astype(np.intp))
    if counts.shape[1] < 2 or not counts[:, 0].any():
        return None
    counts = counts[counts.sum(axis=1) > 0]
    share = counts[:, 1] / counts.sum(axis=1)
    hit, miss = counts[:, 1].astype(np.float64), counts[:, 0].astype(np.float64)
    higher = (share[:, None] > share) + 0.5 * (share[:, None] == share)
    return float(hit @ higher @ miss / (hit.sum() * miss.sum()))
