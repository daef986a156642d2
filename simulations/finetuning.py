"""Fine-tuning in the lab: sites on Ray actors, the real ServerApp, the frozen head beside it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

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
from simulations.as_study import write_finetuning_as_study
from simulations.hosts import Display
from simulations.open_run import OpenRun, open_run
from simulations.predictions import Predictions, checked_metrics
from simulations.run_app import run_app
from simulations.server_lines import server_lines


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
        finished rounds left stays in `RunSettings.unfinished`.
    """
    work = settings.unfinished
    settings = settings.model_copy(update={"checkpoint": str(work)})
    with open_run(settings, ray_address, display, _shares) as run:
        with new_run_folder(Path(settings.out), overwrite=settings.overwrite) as folder:
            run.clock.phase("federate")
            with server_lines(display.note):
                result = run_app(run.grid, settings, folder)
            run.clock.phase("predict")
            head, network = _predict(run, folder, result)
            run.clock.phase("write")
            result["test"] = checked_metrics(run.cohort, network, result["test"])
            result["frozen_head"] = checked_metrics(run.cohort, head, result["frozen_head"])
            result.update(
                write_finetuning_as_study(folder, settings, run.cohort, head, network, result)
            )
            run.finish(folder, result)
        # In this order: checkpoints without what the sites kept could not go on.
        shutil.rmtree(work, ignore_errors=True)
        run.ask(lambda host: host.drop_states.remote(result["run"]))
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


def _predict(run: OpenRun, folder: Path, result: dict[str, Any]) -> tuple[Predictions, Predictions]:
    """Let the hosts predict: the frozen head on all images, the network on test images."""
    classes = (0,) * len(run.cohort.classes)
    order = Order(result["run"], result["best_round"], 0, 0, Split.TEST, classes)
    counted, arrays = result.pop("best_counted"), load_network(folder).arrays
    network = run.predictions(lambda host: host.predict_network.remote(order, counted, arrays))
    model = load_model(folder)
    return run.predictions(lambda host: host.predict.remote(model)), network
