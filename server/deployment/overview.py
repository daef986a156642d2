"""One view of a federation, for the terminal, the page and the metrics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from server.deployment.control import NodeSeen, RunSeen, Seen, ask_superlink
from server.deployment.registry import REGISTRY_FILE, read_registry
from server.deployment.runs import RunProgress, progress_of, read_runs
from server.deployment.settings import CoordinatorFile

_UNKNOWN_NODE = NodeSeen("unknown", "")
_UNKNOWN_RUN = RunSeen("unknown", "", "")


@dataclass(frozen=True)
class SiteView:
    """A site.

    Attributes
    ----------
    site : str
        Its name.
    node_id : int
        Its node.
    state, since : str
        As `NodeSeen`.
    """

    site: str
    node_id: int
    state: str
    since: str


@dataclass(frozen=True)
class RunView:
    """A run.

    Attributes
    ----------
    name, learner, strategy : str
        What it is.
    state, outcome, details : str
        As `RunSeen`.
    progress : RunProgress
        How far it is.
    """

    name: str
    learner: str
    strategy: str
    state: str
    outcome: str
    details: str
    progress: RunProgress


@dataclass(frozen=True)
class Overview:
    """A federation.

    Attributes
    ----------
    federation : str
        Its name.
    sites : tuple of SiteView
        In the order of their names.
    runs : tuple of RunView
        The last one last.
    """

    federation: str
    sites: tuple[SiteView, ...]
    runs: tuple[RunView, ...]


def look(folder: Path, settings: CoordinatorFile) -> Overview:
    """Look at a federation.

    Raises
    ------
    DeploymentError
        If its SuperLink does not answer.
    """
    return overview(folder, settings, ask_superlink(folder, settings))


def overview(folder: Path, settings: CoordinatorFile, seen: Seen) -> Overview:
    """Put together what the SuperLink, the registry and the runs' events tell."""
    sites = []
    for member in read_registry(folder / REGISTRY_FILE):
        node = seen.nodes.get(member.node_id, _UNKNOWN_NODE)
        sites.append(SiteView(member.site, member.node_id, node.state, node.since))
    runs = []
    for run in read_runs(folder):
        last = run.flower_runs[-1] if run.flower_runs else ""
        found = seen.runs.get(last, _UNKNOWN_RUN)
        told = run.run_settings
        runs.append(
            RunView(
                run.name,
                told.learner,
                told.strategy,
                found.state,
                found.outcome,
                found.details,
                progress_of(run),
            )
        )
    return Overview(settings.federation, tuple(sites), tuple(runs))
