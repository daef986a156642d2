"""The audit for people, as tables and lines, and for machines, as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table
from rich.text import Text

from client.audit.assignment import Assignment
from client.audit.finding import Finding, Severity, plural
from common.cohort import Cohort
from common.split import Split
from common.whole_file import whole_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHOWN = 5
_STYLE = {
    Severity.LEAK: "bold red",
    Severity.ERROR: "red",
    Severity.WARNING: "yellow",
    Severity.INFO: "dim",
}


def summary_table(cohort: Cohort, split: Assignment) -> Table:
    """Count images by site, class and part of the split."""
    table = Table(title=Text(cohort.name), title_justify="left")
    table.add_column("site", no_wrap=True)
    for name in ("images", "lesions", *cohort.classes, *(part.value for part in Split)):
        table.add_column(name, justify="right")

    def row(name: Text, member: NDArray[np.bool_]) -> None:
        classes = np.bincount(cohort.y[member], minlength=len(cohort.classes))
        counts = [
            int(member.sum()),
            len(set(cohort.lesion[member].tolist())),
            *classes.tolist(),
            *(int((split.member(part) & member).sum()) for part in Split),
        ]
        table.add_row(name, *(f"{count:,}" for count in counts))

    for site in cohort.sites:
        row(Text(site), cohort.site == site)
    table.add_section()
    row(Text("all"), np.ones(len(cohort), dtype=np.bool_))
    return table


def findings_table(findings: list[Finding]) -> Table:
    """Lay the findings out in the order given, numbered from 1."""
    table = Table(title="findings", title_justify="left")
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("severity", no_wrap=True)
    table.add_column("check", no_wrap=True)
    table.add_column("finding")
    for number, finding in enumerate(findings, start=1):
        severity = Text(finding.severity.value, style=_STYLE[finding.severity])
        table.add_row(str(number), severity, Text(finding.check), Text(finding.message))
    return table


def example_lines(findings: list[Finding]) -> list[str]:
    """Name the first few of what each numbered finding is about, one line a finding."""
    lines = []
    for number, finding in enumerate(findings, start=1):
        if not finding.examples:
            continue
        more = len(finding.examples) - SHOWN
        rest = f"; and {more:,} more (--json names all)" if more > 0 else ""
        lines.append(f"{number} {finding.check}: {'; '.join(finding.examples[:SHOWN])}{rest}")
    return lines


def verdict_line(split: Assignment, findings: list[Finding]) -> str:
    """Count what was found, in one line."""
    count = count_by_severity(findings)
    words = ", ".join(plural(count[severity], severity.value) for severity in list(Severity)[:3])
    return f"{split.name}: {words}"


def count_by_severity(findings: list[Finding]) -> dict[Severity, int]:
    """Count findings of each severity."""
    return {
        severity: sum(finding.severity is severity for finding in findings) for severity in Severity
    }


def write_json(path: Path, cohort: Cohort, split: Assignment, findings: list[Finding]) -> None:
    """Write all findings to a file.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    content = {
        "cohort": cohort.name,
        "images": len(cohort),
        "split": split.name,
        "findings_by_severity": count_by_severity(findings),
        "findings": [
            {
                "check": finding.check,
                "severity": finding.severity.value,
                "message": finding.message,
                "count": finding.count,
                "examples": list(finding.examples),
            }
            for finding in findings
        ],
    }
    with whole_file(path) as partial:
        text = json.dumps(content, indent=2, ensure_ascii=False)
        partial.write_text(f"{text}\n", encoding="utf-8")
