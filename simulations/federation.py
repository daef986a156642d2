"""A federation in the lab: sites on Ray actors, the real ServerApp, the pooled oracle beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from common.cohort import Cohort
from common.learners.linear_head import linear
from common.model import Model, load_model
from common.run_folder import new_run_folder
from common.settings import RunSettings
from common.split import Split
from simulations.as_study import write_as_study
from simulations.hosts import Display
from simulations.open_run import open_run
from simulations.oracle import relative_error
from simulations.predictions import Predictions, checked_metrics, exact_metrics
from simulations.run_app import run_app
from simulations.vote_oracle import pooled_oracle


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
    with new_run_folder(Path(settings.out), overwrite=settings.overwrite) as folder:
        with open_run(settings, ray_address, display) as run:
            run.clock.phase("federate")
            result = run_app(run.grid, settings, folder)
            run.clock.phase("predict")
            model = load_model(folder)
            predictions = run.predictions(lambda host: host.predict.remote(model))
        run.clock.phase("oracle")
        result["oracle"] = _oracle(run.cohort, predictions, model)
        result["imbalance"] = _treated(predictions)
        run.clock.phase("write")
        result["test"] = checked_metrics(run.cohort, predictions, result["test"])
        result.update(write_as_study(folder, settings, run.cohort, predictions, result))
        run.finish(folder, result)
    return result


def _treated(predictions: Predictions) -> dict[str, Any]:
    """Tell what each site learns from, and what was done otherwise than asked."""
    return {
        site: {
            "images": treated.real,
            "to_learn": len(treated.data),
            "notes": list(treated.notes),
        }
        for site, treated in predictions.treated.items()
    }


def _oracle(cohort: Cohort, predictions: Predictions, model: Model) -> dict[str, Any] | None:
    """Fit the pooled oracle on the sites that the model is made of, and compare; None for none."""
    y = cohort.y[predictions.rows]
    learned_from = np.isin(predictions.client, model.description.sites)
    train = (predictions.split == Split.TRAIN.value) & learned_from & predictions.kept
    held = (predictions.split == Split.VALIDATION.value) & learned_from & predictions.kept
    test = (predictions.split == Split.TEST.value) & learned_from
    x, labels, n = predictions.x, y, len(y)
    if predictions.treated:
        # What the sites learn from comes behind the images that are predicted.
        learned = [predictions.treated[site].data for site in model.description.sites]
        x = np.concatenate([x, *(data.x for data in learned)])
        labels = np.concatenate([y, *(data.y for data in learned)])
        train = np.arange(len(x)) >= n
        held = np.concatenate([held, np.zeros(len(x) - n, dtype=np.bool_)])
    oracle = pooled_oracle(model, x, labels, train, held)
    if oracle is None:
        return None
    predicted = predictions.probabilities.argmax(axis=1)
    error = None
    if oracle.coef is not None:
        error = relative_error(linear(model.head()).standardised_coef(), oracle.coef)
    return {
        "pooled": exact_metrics(y[test], oracle.probabilities[:n][test], cohort.classes),
        "relative_coefficient_error": error,
        "converged": oracle.converged,
        "predictions_that_differ": int((oracle.predicted[:n] != predicted).sum()),
    }
