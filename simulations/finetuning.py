"""Fine-tuning in the lab: sites on Ray actors, the real ServerApp, the frozen head beside it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import ray

from common.cohort import Cohort
from common.finetuning.balance import site_share
from common.finetuning.model import load_network
from common.finetuning.order import Order
from common.finetuning.strategies import training_of
from common.model import load_model
from common.partition import Partition
from common.run_folder import new_run_folder
from common.settings import RunSettings
from common.split import Split, split_groups
from server.federation import write_result
from simulations.as_study import write_finetuning_as_study
from simulations.hosts import Clock, Display, get, open_sites, plan_sites
from simulations.predictions import Predictions, checked_metrics, gather
from simulations.ray_grid import RayGrid
from simulations.ray_session import ray_session
from simulations.run_app import run_app
from simulations.server_lines import server_lines

if TYPE_CHECKING:
    from simulations.site_host import SitePredictions


def unfinished_folder(out: Path) -> Path:
    """Name the folder from which a run that was stopped goes on."""
    return out.with_name(f"{out.name}.unfinished")


def finetune(settings: RunSettings, *, ray_address: str | None, display: Display) -> dict[str, Any]:
    """Fine-tune over simulated sites and write the run folder, going on where a run stopped.

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
        If anything is not what it must be; the run folder is not written then, and what the
        finished rounds left stays in `unfinished_folder`.
    """
    clock = Clock(display)
    work = unfinished_folder(Path(settings.out))
    settings = settings.model_copy(update={"checkpoint": str(work)})
    clock.phase("start")
    # Here, a wrong cohort or partition is told before Ray is started.
    plan = plan_sites(settings) if ray_address is None else None
    with ray_session(ray_address) as cpus:
        cohort, partition = plan or get(ray.remote(plan_sites).remote(settings))
        with new_run_folder(Path(settings.out), overwrite=settings.overwrite) as folder:
            clock.phase("features")
            work_of = _shares(cohort, partition, settings)
            by_node = open_sites(cohort, partition, settings, cpus, display, work_of)
            hosts = set(by_node.values())
            machines = len(set(get([host.machine.remote() for host in hosts])))
            clock.phase("federate")
            with server_lines(display.note):
                result = run_app(RayGrid(by_node), settings, folder)
            clock.phase("predict")
            head, network = _predict(cohort, hosts, settings, folder, result)
            clock.phase("write")
            result["test"] = checked_metrics(cohort, network, result["test"])
            result["frozen_head"] = checked_metrics(cohort, head, result["frozen_head"])
            result["machines"], result["machine"] = machines, f"{cpus} cores"
            result["partition"]["spec"] = settings.partition
            result.update(
                write_finetuning_as_study(folder, settings, cohort, head, network, result)
            )
            # The ServerApp's own phases lie within "federate".
            result["phases"] = list(clock.seconds())
            result["seconds"].update(clock.seconds())
            write_result(folder, result)
        # In this order: checkpoints without what the sites kept could not go on.
        shutil.rmtree(work, ignore_errors=True)
        get([host.drop_states.remote(result["run"]) for host in hosts])
    return result


def _shares(cohort: Cohort, partition: Partition, settings: RunSettings) -> dict[str, float]:
    """Give the share of a step's images that each site has: its share of the work."""
    trains = split_groups(settings.split_seed, cohort.group) == Split.TRAIN.value
    counts = {
        name: np.bincount(cohort.y[rows[trains[rows]]], minlength=len(cohort.classes))
        for name, rows in zip(partition.names, partition.rows, strict=True)
    }
    power = training_of(settings.strategy, settings.training).sampling_power
    total = np.sum(list(counts.values()), axis=0)
    return {name: site_share(own, total, power) for name, own in counts.items()}


def _predict(
    cohort: Cohort,
    hosts: Iterable[Any],
    settings: RunSettings,
    folder: Path,
    result: dict[str, Any],
) -> tuple[Predictions, Predictions]:
    """Let the hosts predict: the frozen head on all images, the network on test images."""
    split = split_groups(settings.split_seed, cohort.group)
    best, arrays = result["best_round"], load_network(folder).arrays
    classes = (0,) * len(cohort.classes)
    order = Order(result["run"], best, 0, 0, Split.TEST, classes)
    counted = result.pop("best_counted")
    network = [host.predict_network.remote(order, counted, arrays) for host in hosts]
    head = [host.predict.remote(load_model(folder)) for host in hosts]

    def gathered(references: list[Any]) -> Predictions:
        parts: list[list[SitePredictions]] = get(references)
        return gather([part for of_host in parts for part in of_host], split)

    return gathered(head), gathered(network)
