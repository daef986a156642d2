"""A federation in the lab: sites on Ray actors, the real ServerApp, the pooled oracle beside it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import ray

from common.cohort import Cohort, load_cohort
from common.errors import ContributionError, DermafedError
from common.model import Model, load_model
from common.partition import Partition, make_partition
from common.run_folder import new_run_folder
from common.settings import RunSettings
from common.split import Split, split_groups
from server.federation import write_result
from simulations.as_study import write_as_study
from simulations.oracle import fit_oracle, relative_error
from simulations.predictions import Predictions, exact_metrics, gather
from simulations.ray_grid import RayGrid
from simulations.ray_session import ray_session
from simulations.run_app import run_app
from simulations.site_host import SimulatedSite, start_hosts, table_digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Flower's own node is number 1.
FIRST_NODE_ID = 2
_PROGRESS_SECONDS = 0.2


@dataclass(frozen=True)
class Display:
    """How a simulation shows what it does.

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


class _Clock:
    """Seconds by phase; a phase ends where the next one begins."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._laps: list[tuple[str, float]] = []

    def phase(self, name: str) -> None:
        self._display.phase(name)
        self._laps.append((name, time.perf_counter()))

    def seconds(self) -> dict[str, float]:
        ends = [start for _, start in self._laps[1:]] + [time.perf_counter()]
        laps = zip(self._laps, ends, strict=True)
        return {name: round(end - start, 3) for (name, start), end in laps}


def simulate(settings: RunSettings, *, ray_address: str | None, display: Display) -> dict[str, Any]:
    """Run a federation over simulated sites and write its run folder.

    Parameters
    ----------
    settings : RunSettings
        The run; `cohort` and `out` must be absolute. With a cluster, `cohort` is a folder of its
        machines; this process plans with the table that one of them reads.
    ray_address : str or None
        Address of a running Ray cluster; None for this machine.
    display : Display
        Shows what happens.

    Returns
    -------
    dict
        What ``result.json`` holds.

    Raises
    ------
    DermafedError
        If anything is not what it must be; nothing is written then.
    """
    clock = _Clock(display)
    with new_run_folder(Path(settings.out), overwrite=settings.overwrite) as folder:
        clock.phase("start")
        # Here, a wrong cohort or partition is told before Ray is started.
        plan = _plan(settings) if ray_address is None else None
        with ray_session(ray_address) as cpus:
            cohort, partition = plan or _get(ray.remote(_plan).remote(settings))
            clock.phase("features")
            hosts = _open_sites(cohort, partition, settings, cpus, display)
            machines = len(set(_get([host.machine.remote() for host in set(hosts.values())])))
            clock.phase("federate")
            result = run_app(RayGrid(hosts), settings, folder)
            clock.phase("predict")
            model = load_model(folder)
            parts = _get([host.predict.remote(model) for host in set(hosts.values())])
        predictions = gather(
            [part for of_host in parts for part in of_host],
            split_groups(settings.split_seed, cohort.group),
        )
        clock.phase("oracle")
        result["oracle"] = _oracle(cohort, predictions, model)
        clock.phase("write")
        result["test"] = _test(cohort, predictions, result["test"])
        result["machines"] = machines
        result["machine"] = f"{cpus} cores"
        result["partition"]["spec"] = settings.partition
        result.update(write_as_study(folder, settings, cohort, predictions, result))
        # The federation's own phases (join, learn, evaluate) lie within "federate".
        result["phases"] = list(clock.seconds())
        result["seconds"].update(clock.seconds())
        write_result(folder, result)
    return result


def _plan(settings: RunSettings) -> tuple[Cohort, Partition]:
    cohort = load_cohort(Path(settings.cohort))
    return cohort, make_partition(settings.partition, cohort, settings.seed)


def _get(reference: Any) -> Any:  # noqa: ANN401
    """Wait for a Ray result; an error of ours comes out as it was raised over there."""
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, DermafedError):
            raise error.cause from None
        raise


def _open_sites(
    cohort: Cohort, partition: Partition, settings: RunSettings, cpus: int, display: Display
) -> dict[int, Any]:
    """Start hosts, give each a like number of images, and wait until all sites are open."""
    sites = [
        SimulatedSite(node_id, name, rows)
        for node_id, (name, rows) in enumerate(
            zip(partition.names, partition.rows, strict=True), start=FIRST_NODE_ID
        )
    ]
    hosts = start_hosts(min(len(sites), cpus), settings, table_digest(cohort))
    load = [0] * len(hosts)
    shares: list[list[SimulatedSite]] = [[] for _ in hosts]
    for site in sorted(sites, key=lambda site: -len(site.rows)):
        host = load.index(min(load))
        load[host] += len(site.rows)
        shares[host].append(site)
    pending = [host.open.remote(share) for host, share in zip(hosts, shares, strict=True)]
    opened = list(pending)
    while pending:
        done, pending = ray.wait(pending, timeout=_PROGRESS_SECONDS)
        # The first failure ends the run without waiting for the other hosts.
        _get(done)
        display.progress(sum(_get([host.images_done.remote() for host in hosts])), len(cohort))
    for problem in (line for lines in _get(opened) for line in lines):
        display.note(f"left out: {problem}")
    return {site.node_id: host for host, share in zip(hosts, shares, strict=True) for site in share}


def _test(cohort: Cohort, predictions: Predictions, from_sums: dict[str, Any]) -> dict[str, Any]:
    """Give exact metrics by acquisition site and by simulated site, beside the federation's own.

    Raises
    ------
    ContributionError
        If the sites' sums are not those of their predictions.
    """
    test = predictions.split == Split.TEST.value
    y, p = cohort.y[predictions.rows], predictions.probabilities

    def metrics(member: NDArray[np.bool_]) -> dict[str, Any]:
        return exact_metrics(y[test & member], p[test & member], cohort.classes)

    pooled = metrics(np.ones(len(y), dtype=np.bool_))
    site = cohort.site[predictions.rows]
    clients = {name: metrics(predictions.client == name) for name in from_sums["sites"]}
    for name, found in clients.items():
        told = from_sums["sites"][name]
        whole = told["n"] == found["n"] and told["images_withheld"] == 0
        if whole and found["confusion"] != told["confusion"]:
            raise ContributionError(f"site {name}: its sums are not those of its predictions")
    pooled["macro_auc_from_sums"] = from_sums["pooled"]["macro_auc"]
    return {
        "pooled": pooled,
        "sites": {name: metrics(site == name) for name in cohort.sites},
        "clients": clients,
        # What the coordinator alone knows, which in a deployment is all that there is.
        "from_sums": from_sums,
    }


def _oracle(cohort: Cohort, predictions: Predictions, model: Model) -> dict[str, Any]:
    """Fit the pooled oracle on the sites that the model is made of, and compare."""
    y = cohort.y[predictions.rows]
    learned_from = np.isin(predictions.client, model.description.sites)
    train = (predictions.split == Split.TRAIN.value) & learned_from & predictions.kept
    test = (predictions.split == Split.TEST.value) & learned_from
    oracle = fit_oracle(model, predictions.x, y, train)
    predicted = predictions.probabilities.argmax(axis=1)
    error = None
    if oracle.coef is not None:
        error = relative_error(model.head().standardised_coef(), oracle.coef)
    return {
        "pooled": exact_metrics(y[test], oracle.probabilities[test], cohort.classes),
        "relative_coefficient_error": error,
        "converged": oracle.converged,
        "predictions_that_differ": int((oracle.predicted != predicted).sum()),
    }
