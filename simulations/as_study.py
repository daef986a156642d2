"""A single simulation in the form of a study's result, so that one report reads both."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from common.settings import RunSettings
from common.split import Split
from simulations.studies.cells import evaluate
from simulations.studies.groups import CLIENT, GROUPINGS
from simulations.studies.image_table import make_image_table
from simulations.studies.result import PREDICTIONS_FILE, describe_cohort, write_predictions
from simulations.studies.series import Repetition, Series

if TYPE_CHECKING:
    from common.cohort import Cohort
    from simulations.predictions import Predictions

SIMULATE, CONDITION = "simulate", "all sites"
_COSTS = ("rounds", "bytes_up", "bytes_down")


def write_as_study(
    folder: Path,
    settings: RunSettings,
    cohort: Cohort,
    predictions: Predictions,
    result: Mapping[str, Any],
) -> dict[str, Any]:
    """Write ``predictions.csv`` and give what ``result.json`` shares with a study's.

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
    readable = cohort.take(predictions.rows)
    groupings = {name: group(readable) for name, group in GROUPINGS.items()}
    learner = f"{settings.learner} {settings.learner_settings}".strip()
    about = {"partition": settings.partition}

    def series(rows: np.ndarray[Any, Any]) -> Series:
        p = predictions.probabilities[rows]
        part = Repetition(
            settings.split_seed,
            rows,
            predictions.client[rows],
            p.astype(np.float32),
            p.argmax(axis=1),
        )
        return Series(learner, "federated", CONDITION, about, (part,))

    write_predictions(
        folder / PREDICTIONS_FILE, readable, groupings, [series(np.arange(len(readable)))]
    )
    test = series(np.flatnonzero(predictions.split == Split.TEST.value))
    table = make_image_table(readable, groupings, draws=settings.draws, seed=settings.seed)
    by = [*GROUPINGS, *([] if settings.partition == "site" else [CLIENT])]
    evaluated = evaluate(test, table, by)
    row = {"learner": learner, "condition": CONDITION}
    oracle = result["oracle"]
    return {
        "kind": "study",
        "study": SIMULATE,
        "question": "What is a model worth that all sites have learned together?",
        "settings": {
            "cohort": settings.cohort,
            "learners": [learner],
            "split_seeds": [settings.split_seed],
            "draws": settings.draws,
            "seed": settings.seed,
            "backbone": settings.backbone,
        },
        "cohort": {
            **describe_cohort(readable),
            "unreadable": len(cohort) - len(readable),
            "sites_known": cohort.sites_known,
        },
        "cells": evaluated.cells,
        "fairness": evaluated.fairness,
        "comparisons": [],
        "exactness": [
            {
                **row,
                "predictions": len(readable),
                "differ": oracle["predictions_that_differ"],
                "auc_error": _auc_error(result["test"]),
            }
        ],
        "costs": [
            {
                **row,
                "model": "federated",
                "federations": 1.0,
                **{name: float(result[name]) for name in _COSTS},
                "seconds": float(result["seconds"]["learn"]),
            }
        ],
        "notes": [],
    }


def _auc_error(test: Mapping[str, Any]) -> float:
    """Tell how far the macro AUC from the sites' sums is from the exact one."""
    exact, told = test["pooled"]["macro_auc"], test["from_sums"]["pooled"]["macro_auc"]
    return 0.0 if exact is None or told is None else abs(exact - told)
