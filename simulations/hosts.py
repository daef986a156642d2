"""What runs of the lab share: planned sites, opened on Ray actors, and a clock for the phases."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from common.cohort import Cohort, load_cohort
from common.errors import DermafedError
from common.finetuning.check import check_site_count
from common.partition import Partition, make_partition
from common.settings import RunSettings
from simulations.site_host import SimulatedSite, start_hosts, table_digest

# Flower's own node is number 1.
FIRST_NODE_ID = 2
_PROGRESS_SECONDS = 0.2


@dataclass(frozen=True)
class Display:
    """How a run shows what it does.

    Attributes
    ----------
    phase : callable
        Called with each phase's name.
    progress : callable
        Called with (images done, images in all) while features are made.
    note : callable
        Called with a line that the user should read.
    """

    phase: Callable[[str], None]
    progress: Callable[[int, int], None]
    note: Callable[[str], None]


class Clock:
    """Seconds by phase; a phase ends where the next one begins.

    Parameters
    ----------
    display : Display
        Told of each phase.
    """

    def __init__(self, display: Display) -> None:
        self._display = display
        self._laps: list[tuple[str, float]] = []

    def phase(self, name: str) -> None:
        """Begin a phase."""
        self._display.phase(name)
        self._laps.append((name, time.perf_counter()))

    def seconds(self) -> dict[str, float]:
        """Give the seconds of each phase, the last one up to now."""
        ends = [start for _, start in self._laps[1:]] + [time.perf_counter()]
        laps = zip(self._laps, ends, strict=True)
        return {name: round(end - start, 3) for (name, start), end in laps}


def plan_sites(settings: RunSettings) -> tuple[Cohort, Partition]:
    """Read the cohort and share it among the sites.

    Raises
    ------
    DermafedError
        If the cohort or the partition is wrong, or a strategy needs more sites.
    """
    cohort = load_cohort(Path(settings.cohort))
    partition = make_partition(settings.partition, cohort, settings.seed)
    check_site_count(settings, len(partition.names))
    return cohort, partition


def get(reference: Any) -> Any:  # noqa: ANN401
    """Wait for a Ray result; an error of ours comes out as it was raised over there."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, DermafedError):
            raise error.cause from None
        raise


def open_sites(
    cohort: Cohort,
    partition: Partition,
    settings: RunSettings,
    cpus: int,
    display: Display,
    work: Mapping[str, float] | None = None,
) -> dict[int, Any]:
    """Start hosts, give each a like amount of work, and wait until all sites are open.

    Parameters
    ----------
    cohort, partition : Cohort, Partition
        From `plan_sites`.
    settings : RunSettings
        The run.
    cpus : int
        Cores; a host has one.
    display : Display
        Shows how many images' features are there, and which images are left out.
    work : mapping of str to float, optional
        What each site has to do, in any unit; its number of images if absent.

    Returns
    -------
    dict of int to actor handle
        The host of each node id.

    Raises
    ------
    DermafedError
        If a site cannot be opened.
    """
    sites = [
        SimulatedSite(node_id, name, rows)
        for node_id, (name, rows) in enumerate(
            zip(partition.names, partition.rows, strict=True), start=FIRST_NODE_ID
        )
    ]
    hosts = start_hosts(min(len(sites), cpus), settings, table_digest(cohort))
    load = [0.0] * len(hosts)
    amount = work or {site.name: float(len(site.rows)) for site in sites}
    shares: list[list[SimulatedSite]] = [[] for _ in hosts]
    for site in sorted(sites, key=lambda site: -amount[site.name]):
        host = load.index(min(load))
        load[host] += amount[site.name]
        shares[host].append(site)
    pending = [host.open.remote(share) for host, share in zip(hosts, shares, strict=True)]
    opened = list(pending)
    while pending:
        done, pending = ray.wait(pending, timeout=_PROGRESS_SECONDS)
        # The first failure ends the run without waiting for the other hosts.
        get(done)
        display.progress(sum(get([host.images_done.remote() for host in hosts])), len(cohort))
    for line in (line for lines in get(opened) for line in lines):
        display.note(line)
    return {site.node_id: host for host, share in zip(hosts, shares, strict=True) for site in share}
