"""A single run of the lab in the form of a study's result, so that one report reads both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.settings import RunSettings
from common.split import Split
from simulations.studies.base import Pair
from simulations.studies.cells import evaluate
from simulations.studies.groups import CLIENT, GROUPINGS
from simulations.studies.image_table import make_image_table
from simulations.studies.result import (
    PREDICTIONS_FILE,
    comparisons,
    describe_cohort,
    write_predictions,
)
from simulations.studies.series import Repetition, Series

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.cohort import Cohort
    from simulations.predictions import Predictions

SIMULATE, FINETUNE, CONDITION = "simulate", "finetune", "all sites"
FEDERATED, FINE_TUNED, FROZEN = "federated", "fine-tuned", "frozen head"
_COSTS = ("rounds", "bytes_up", "bytes_down")


def write_as_study(
    folder: Path,
    settings: RunSettings,
    cohort: Cohort,
    predictions: Predictions,
    result: Mapping[str, Any],
) -> dict[str, Any]:
    """Write a simulation's ``predictions.csv`` and give what ``result.json`` has of a study's.

    Parameters
    ----------
    folder : Path
        The run folder.
    settings : RunSettings
        The run.
    cohort : Cohort
        As it was read.
    predictions : Predictions
        Of every readable image.
    result : mapping
        What ``result.json`` holds so far, the oracle included.
    """
    learner = f"{settings.learner} {settings.learner_settings}".strip()
    oracle = result["oracle"]
    return {
        "study": SIMULATE,
        "question": "What is a model worth that all sites have learned together?",
        **_write(folder, settings, cohort, predictions.rows, learner, {FEDERATED: predictions}, []),
        "exactness": [
            {
                "learner": learner,
                "condition": CONDITION,
                "predictions": len(predictions.rows),
                "differ": oracle["predictions_that_differ"],
                "auc_error": _auc_error(result["test"]),
            }
        ]
        if oracle is not None
        else [],
        "costs": [_cost(learner, FEDERATED, result, result["seconds"]["learn"])],
        "notes": [
            f"imbalance {settings.imbalance}: site {site}: {note}"
            for site, treated in predictions.treated.items()
            for note in treated.notes
        ],
    }


def write_finetuning_as_study(
    folder: Path,
    settings: RunSettings,
    cohort: Cohort,
    head: Predictions,
    network: Predictions,
    result: Mapping[str, Any],
) -> dict[str, Any]:
    """Write a fine-tuning run's ``predictions.csv``, and give what is a study's as above.

    Parameters
    ----------
    folder : Path
        The run folder.
    settings : RunSettings
        The run.
    cohort : Cohort
        As it was read.
    head : Predictions
        Those of the exact head on frozen features, of every readable image.
    network : Predictions
        Those of the fine-tuned network, of the test images.
    result : mapping
        What ``result.json`` holds so far.
    """
    learner = f"{settings.strategy} {settings.strategy_settings}".strip()
    tested = head.take(head.split == Split.TEST.value)
    models = {FINE_TUNED: network, FROZEN: tested}
    pair = Pair((FINE_TUNED, CONDITION), (FROZEN, CONDITION))
    trained = sum(entry["seconds"] for entry in result["history"])
    return {
        "study": FINETUNE,
        "question": "Does fine-tuning across sites do better than a head on frozen features?",
        **_write(folder, settings, cohort, head.rows, learner, models, [pair]),
        "exactness": [],
        "costs": [_cost(learner, FINE_TUNED, result, result["seconds"]["learn"] + trained)],
    }


def _write(
    folder: Path,
    settings: RunSettings,
    cohort: Cohort,
    readable_rows: NDArray[np.intp],
    learner: str,
    models: Mapping[str, Predictions],
    pairs: list[Pair],
) -> dict[str, Any]:
    readable = cohort.take(readable_rows)
    groupings = {name: group(readable) for name, group in GROUPINGS.items()}
    about = {"partition": settings.partition}

    def series(model: str, found: Predictions) -> Series:
        p = found.probabilities
        part = Repetition(
            settings.split_seed,
            np.searchsorted(readable_rows, found.rows),
            found.client,
            p.astype(np.float32),
            p.argmax(axis=1),
        )
        return Series(learner, model, CONDITION, about, (part,))

    everything = [series(model, found) for model, found in models.items()]
    write_predictions(folder / PREDICTIONS_FILE, readable, groupings, everything)
    table = make_image_table(readable, groupings, draws=settings.draws, seed=settings.seed)
    by = [*GROUPINGS, *([] if settings.partition == "site" else [CLIENT])]
    tested = [
        series(model, found.take(found.split == Split.TEST.value))
        for model, found in models.items()
    ]
    evaluated = {one.name: evaluate(one, table, by) for one in tested}
    return {
        "kind": "study",
        "settings": {
            "cohort": settings.cohort,
            "learners": [learner],
            "split_seeds": [settings.split_seed],
            "draws": settings.draws,
            "seed": settings.seed,
            "backbone": settings.backbone,
            "imbalance": settings.imbalance,
            "metadata": settings.metadata,
        },
        "cohort": {
            **describe_cohort(readable),
            "unreadable": len(cohort) - len(readable),
            "sites_known": cohort.sites_known,
        },
        "cells": [cell for one in evaluated.values() for cell in one.cells],
        "fairness": [entry for one in evaluated.values() for entry in one.fairness],
        "comparisons": comparisons(by, pairs, [learner], evaluated),
        "notes": [],
    }


def _cost(learner: str, model: str, result: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    return {
        "learner": learner,
        "condition": CONDITION,
        "model": model,
        "federations": 1.0,
        **{name: float(result[name]) for name in _COSTS},
        "seconds": float(seconds),
    }


def _auc_error(test: Mapping[str, Any]) -> float:
    """Tell how far the macro AUC from the sites' sums is from the exact one."""
    exact, told = test["pooled"]["macro_auc"], test["from_sums"]["pooled"]["macro_auc"]
    return 0.0 if exact is None or told is None else abs(exact - told)
