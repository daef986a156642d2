"""Tables of sites and runs for the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

from server.deployment.overview import Overview


def site_table(found: Overview, fingerprints: Mapping[str, str] | None = None) -> Table:
    """Make the table of sites.

    Parameters
    ----------
    found : Overview
        The federation.
    fingerprints : mapping of str to str, or None
        Of the sites' keys; None for a table without them.
    """
    table = Table("site", "state", "since (UTC)", "node", title=found.federation)
    if fingerprints is not None:
        # On a narrow terminal too, none is compared that is cut short.
        table.add_column("key", overflow="fold")
    for site in found.sites:
        cells = (site.site, site.state, site.since[:19], str(site.node_id))
        table.add_row(*cells, *(() if fingerprints is None else (fingerprints.get(site.site, ""),)))
    return table


def run_table(found: Overview, last: int) -> Table:
    """Make the table of the last runs."""
    table = Table("run", "learner", "state", "round", "stage", "up MB", "down MB", "why")
    for run in found.runs[-last:]:
        progress = run.progress
        table.add_row(
            run.name,
            run.strategy or run.learner,
            run.outcome or run.state,
            str(progress.rounds),
            progress.stage,
            f"{progress.bytes_up / 1e6:.2f}",
            f"{progress.bytes_down / 1e6:.2f}",
            run.details[:200],
        )
    return table
