"""``dermafed site audit``: what has left the building."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from client.commands.site.folder import DEFAULT, SiteFolder
from client.deployment.audit import AUDIT_FILE, read_trail
from client.deployment.refusals import explain_refusals
from client.deployment.settings import read_site_file
from common.console import messages, output, say


def audit(
    folder: SiteFolder = DEFAULT,
    last: Annotated[int, typer.Option(help="Lines to print; 0 for all.", min=0)] = 20,
    statistics: Annotated[
        bool, typer.Option("--statistics", help="Name each array that left.")
    ] = False,
) -> None:
    """Verify the audit trail and print it.

    The last line's hash stands for the whole trail: who notes it down elsewhere can tell later
    that no line was taken off the end. Why something was refused is looked up in the site's log.

    Example:

      dermafed site audit --last 0 --statistics
    """
    path = folder / AUDIT_FILE
    if not path.exists():
        # No trail is right for a site that nobody has asked, and for nothing else.
        read_site_file(folder)
    entries = list(read_trail(path))
    table = Table("line", "time", "run", "asked", "round", "learner", "images", "sent", "refused")
    shown = entries[-last:] if last else entries
    reasons = explain_refusals(folder, (entry["refused"] for entry in shown))
    for entry in shown:
        sent = entry["sent"]
        size = f"{sum(one['bytes'] for one in sent):,} bytes"
        named = "".join(f"\n{one['name']} {one['dtype']} {one['shape']}" for one in sent)
        cells = (
            str(entry["line"]),
            entry["time"],
            entry["run"],
            entry["kind"],
            entry["round"],
            entry["strategy"] or entry["learner"],
            _images(entry),
            size + (named if statistics else ""),
            "\n".join(filter(None, (entry["refused"], reasons.get(entry["refused"])))),
        )
        # Some are the coordinator's words, which may look like markup.
        table.add_row(*map(Text, cells))
    if entries:
        output().print(table)
    say(messages(), f"{len(entries)} lines, the chain is whole")
    if entries:
        say(messages(), f"last hash: {entries[-1]['hash']}")


def _images(entry: Mapping[str, Any]) -> str:
    """Tell how many images what left is over."""
    if entry["refused"]:
        return ""
    # Lines of the first releases tell no more than the minimum, and cannot be written anew.
    images = entry.get("images")
    return f">= {entry['minimum_count']}" if images is None else str(images)
