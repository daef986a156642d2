"""What every run of the lab begins and ends with: sites open on Ray actors, and what it took."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray

from common.cohort import Cohort
from common.partition import Partition
from common.settings import RunSettings
from common.split import split_groups
from server.result import write_result
from simulations.hosts import Clock, Display, get, open_sites, plan_sites
from simulations.predictions import Predictions, gather
from simulations.ray_grid import RayGrid
from simulations.ray_session import ray_session

if TYPE_CHECKING:
    from simulations.site_host import SitePredictions

# What each site has to do, in any unit, of a cohort, its partition and the run.
Work = Callable[[Cohort, Partition, RunSettings], Mapping[str, float]]


@dataclass(frozen=True)
class OpenRun:
    """A run whose sites are open.

    Attributes
    ----------
    settings : RunSettings
        The run.
    cohort : Cohort
        As it was read.
    grid : RayGrid
        The sites' nodes.
    hosts : tuple of actor handle
        The actors that hold the sites.
    machines, cores : int
        What the actors run on.
    clock : Clock
        Of the run's phases.
    """

    settings: RunSettings
    cohort: Cohort
    grid: RayGrid
    hosts: tuple[Any, ...]
    machines: int
    cores: int
    clock: Clock

    def ask(self, question: Callable[[Any], Any]) -> list[Any]:
        """Put a question to each host, and wait for the answers.

        Parameters
        ----------
        question : callable
            Takes a host and calls a method of its, as in ``lambda host: host.machine.remote()``.

        Raises
        ------
        DermafedError
            As it was raised at the host.
        """
        answers: list[Any] = get([question(host) for host in self.hosts])
        return answers

    def predictions(self, question: Callable[[Any], Any]) -> Predictions:
        """Gather the predictions that the hosts answer, as `ask`."""
        parts: list[list[SitePredictions]] = self.ask(question)
        split = split_groups(self.settings.split_seed, self.cohort.group)
        return gather([part for of_host in parts for part in of_host], split)

    def finish(self, folder: Path, result: dict[str, Any]) -> None:
        """Add what the run took, and write ``result.json``."""
        result["machines"], result["machine"] = self.machines, f"{self.cores} cores"
        result["partition"]["spec"] = self.settings.partition
        # The ServerApp's own phases lie within "federate".
        seconds = self.clock.seconds()
        result["phases"] = list(seconds)
        result["seconds"].update(seconds)
        write_result(folder, result)


@contextmanager
def open_run(
    settings: RunSettings, ray_address: str | None, display: Display, work: Work | None = None
) -> Iterator[OpenRun]:
    """Open a run's sites on Ray actors, which end with the body.

    Parameters
    ----------
    settings : RunSettings
        The run; `cohort` must be absolute.
    ray_address : str or None
        Address of a running Ray cluster; None for this machine.
    display : Display
        Shows what happens.
    work : callable, optional
        Tells how much each site has to do; its number of images if absent.

    Raises
    ------
    DermafedError
        If the cohort or the partition is wrong, the cluster cannot be reached, or a site cannot
        be opened.
    """
    clock = Clock(display)
    clock.phase("start")
    # Here, a wrong cohort or partition is told before Ray is started.
    plan = plan_sites(settings) if ray_address is None else None
    with ray_session(ray_address) as cores:
        cohort, partition = plan or get(ray.remote(plan_sites).remote(settings))
        clock.phase("features")
        amounts = None if work is None else work(cohort, partition, settings)
        by_node = open_sites(cohort, partition, settings, cores, display, amounts)
        hosts = tuple(set(by_node.values()))
        machines = len(set(get([host.machine.remote() for host in hosts])))
        yield OpenRun(settings, cohort, RayGrid(by_node), hosts, machines, cores, clock)
