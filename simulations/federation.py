"""A federation in the lab: sites on Ray actors, the real ServerApp, the pooled oracle beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import ray

from common.cohort import Cohort
from common.model import Model, load_model
from common.run_folder import new_run_folder
from common.settings import RunSettings
from common.split import Split, split_groups
from server.federation import write_result
from simulations.as_study import write_as_study
from simulations.hosts import Clock, Display, get, open_sites, plan_sites
from simulations.oracle import fit_oracle, relative_error
from simulations.predictions import Predictions, checked_metrics, exact_metrics, gather
from simulations.ray_grid import RayGrid
from simulations.ray_session import ray_session
from simulations.run_app import run_app


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
    clock = Clock(display)
    with new_run_folder(Path(settings.out), overwrite=settings.overwrite) as folder:
        clock.phase("start")
        # Here, a wrong cohort or partition is told before Ray is started.
        plan = plan_sites(settings) if ray_address is None else None
        with ray_session(ray_address) as cpus:
            cohort, partition = plan or get(ray.remote(plan_sites).remote(settings))
            clock.phase("features")
            hosts = open_sites(cohort, partition, settings, cpus, display)
            machines = len(set(get([host.machine.remote() for host in set(hosts.values())])))
            clock.phase("federate")
            result = run_app(RayGrid(hosts), settings, folder)
            clock.phase("predict")
            model = load_model(folder)
            parts = get([host.predict.remote(model) for host in set(hosts.values())])
        predictions = gather(
            [part for of_host in parts for part in of_host],
            split_groups(settings.split_seed, cohort.group),
        )
        clock.phase("oracle")
        result["oracle"] = _oracle(cohort, predictions, model)
        clock.phase("write")
        result["test"] = checked_metrics(cohort, predictions, result["test"])
        result["machines"] = machines
        result["machine"] = f"{cpus} cores"
        result["partition"]["spec"] = settings.partition
        result.update(write_as_study(folder, settings, cohort, predictions, result))
        # The federation's own phases (join, learn, evaluate) lie within "federate".
        result["phases"] = list(clock.seconds())
        result["seconds"].update(clock.seconds())
        write_result(folder, result)
    return result


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
