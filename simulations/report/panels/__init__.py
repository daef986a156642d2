"""A run's figures with the numbers beside them, one subject a file."""

from __future__ import annotations

from simulations.report.facts import Facts
from simulations.report.panels.by_site import by_site
from simulations.report.panels.combinations import combined
from simulations.report.panels.confidence import confidence
from simulations.report.panels.confusions import confusions
from simulations.report.panels.gains import gains
from simulations.report.panels.groups import groups
from simulations.report.panels.scales import scales
from simulations.report.panels.view import Panel, View

__all__ = ["Panel", "View", "panels"]


def panels(facts: Facts) -> list[Panel]:
    """Make all panels that have something to show, in the order of the page."""
    made = (
        combined(facts),
        gains(facts),
        scales(facts),
        by_site(facts),
        groups(facts),
        confidence(facts),
        confusions(facts),
    )
    return [panel for panel in made if panel.views or panel.folded]
