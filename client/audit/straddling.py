"""Leakage by lesion: what the split, and the sites, have on both sides."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from client.audit.assignment import UNNAMED, Assignment
from client.audit.finding import Finding, Severity, plural
from common.cohort import Cohort
from common.split import Split


def check_lesions(cohort: Cohort, split: Assignment) -> list[Finding]:
    """Find lesions that are in two parts of the split.

    A lesion is `Cohort.group`: its images, and those of lesions that the list of duplicates
    joins to it.
    """
    findings = [
        finding for a, b in combinations(Split, 2) for finding in _straddling(cohort, split, a, b)
    ]
    unnamed = int((split.part == UNNAMED).sum())
    if not findings:
        named = cohort.group[split.part != UNNAMED]
        groups = len(set(named.tolist()))
        message = f"0 of {plural(groups, 'lesion')} straddle the {split.name}"
        findings.append(Finding("lesions", Severity.INFO, message, 0))
    if unnamed:
        message = f"the {split.name} does not name {unnamed:,} of {plural(len(cohort), 'image')}"
        findings.append(Finding("lesions", Severity.INFO, message, unnamed))
    if not cohort.lesions_known:
        message = "lesions are unknown: each image counts as one, so a leak by lesion is not seen"
        findings.append(Finding("lesions", Severity.WARNING, message, len(cohort)))
    return findings


def _straddling(cohort: Cohort, split: Assignment, a: Split, b: Split) -> list[Finding]:
    """Find lesions in both of two parts; the second is the one that is evaluated on."""
    in_a, in_b = split.member(a), split.member(b)
    shared = set(cohort.group[in_a].tolist()) & set(cohort.group[in_b].tolist())
    if not shared:
        return []
    evaluated = int(in_b.sum())
    leaked = int((in_b & np.isin(cohort.group, sorted(shared))).sum())
    first = "training" if a is Split.TRAIN else a.value
    message = (
        f"{plural(len(shared), 'lesion')} in {first} and in {b.value}: {leaked:,} of "
        f"{evaluated:,} {b.value} images ({leaked / evaluated:.1%}) share a lesion with {first}; "
        "split by lesion"
    )
    return [Finding("lesions", Severity.LEAK, message, len(shared), tuple(sorted(shared)))]


def check_published_duplicates(cohort: Cohort, split: Assignment) -> list[Finding]:
    """Report lesions that the list of duplicates joins, and those of them that straddle the split.

    A split by lesion id alone, blind to the list, is caught here.
    """
    lesions_of: dict[str, dict[str, set[str]]] = {}
    for group, lesion, part in zip(
        cohort.group.tolist(), cohort.lesion.tolist(), split.part.tolist(), strict=True
    ):
        lesions_of.setdefault(group, {}).setdefault(lesion, set()).add(part)
    joined = {group: parts for group, parts in lesions_of.items() if len(parts) > 1}
    if not joined:
        message = "no list of duplicates joins any two lesions"
        return [Finding("duplicates", Severity.INFO, message, 0)]
    ids = sum(len(parts) for parts in joined.values())
    known = f"the list of duplicates joins {ids:,} lesion ids to {plural(len(joined), 'lesion')}"
    apart = {
        group: parts
        for group, parts in joined.items()
        if len(set().union(*parts.values()) - {UNNAMED}) > 1
    }
    if not apart:
        message = f"{known}; none straddles the split"
        return [Finding("duplicates", Severity.INFO, message, len(joined))]
    message = f"{known}; {len(apart):,} of them straddle the split; keep joined lesions together"
    examples = tuple(" ".join(sorted(parts)) for _, parts in sorted(apart.items()))
    return [Finding("duplicates", Severity.LEAK, message, len(apart), examples)]


def check_sites(cohort: Cohort, split: Assignment) -> list[Finding]:
    """Find lesions with images at two sites, and sites without a training image."""
    findings = []
    if not cohort.sites_known:
        message = "sites are unknown: the table has no site column; partition site needs one"
        findings.append(Finding("sites", Severity.WARNING, message, len(cohort)))
    sites_of: dict[str, set[str]] = {}
    for group, site in zip(cohort.group.tolist(), cohort.site.tolist(), strict=True):
        sites_of.setdefault(group, set()).add(site)
    shared = {group: sites for group, sites in sites_of.items() if len(sites) > 1}
    if shared:
        message = (
            f"{plural(len(shared), 'lesion')} at two sites or more: a split by lesion keeps each "
            "together; leaving one site out must leave them out of training"
        )
        examples = tuple(f"{group} {' '.join(sorted(s))}" for group, s in sorted(shared.items()))
        findings.append(Finding("sites", Severity.WARNING, message, len(shared), examples))
    train = split.member(Split.TRAIN)
    without = tuple(site for site in cohort.sites if not train[cohort.site == site].any())
    if without:
        message = f"{plural(len(without), 'site')} without a training image in the {split.name}"
        findings.append(Finding("sites", Severity.WARNING, message, len(without), without))
    return findings
