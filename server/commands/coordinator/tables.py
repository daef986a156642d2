"""Tables of sites and runs for the terminal."""

from __future__ import annotations

from rich.table import Table

from server.deployment.overview import Overview


def site_table(found: Overview) -> Table:
    """Make the table of sites."""
    table = Table("site", "state", "since (UTC)", "node", title=found.federation)
    for site in found.sites:
        table.add_row(site.site, site.state, site.since[:19], str(site.node_id))
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
