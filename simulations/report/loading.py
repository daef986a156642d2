"""A run folder, read and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from common.errors import RunFolderError
from simulations.report.predictions_table import PredictionsTable, read_predictions
from simulations.report.schema import Study

RESULT, PREDICTIONS = "result.json", "predictions.csv"


@dataclass(frozen=True)
class Run:
    """A run folder's content.

    Attributes
    ----------
    folder : Path
        Where it lies.
    study : Study
        Its ``result.json``.
    predictions : PredictionsTable
        Its ``predictions.csv``.
    """

    folder: Path
    study: Study
    predictions: PredictionsTable


def load_run(folder: Path) -> Run:
    """Read a run folder.

    Parameters
    ----------
    folder : Path
        The folder of a study.

    Raises
    ------
    RunFolderError
        If it is no run folder, or one of its files is damaged; the message names the file and
        the field.
    """
    if not folder.is_dir():
        raise RunFolderError(f"{folder}: no such run folder")
    path = folder / RESULT
    values = _read_json(path)
    if "kind" not in values:
        raise RunFolderError(
            f"{path}: has no kind, so it is not the result of a study; "
            "make one with a study's command"
        )
    try:
        study = Study.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "result"
        raise RunFolderError(f"{path}: {where}: {first['msg']}; run the study anew") from error
    return Run(folder, study, read_predictions(folder / PREDICTIONS, study.cohort.classes))


def _read_json(path: Path) -> Mapping[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        values = json.loads(text, parse_constant=_refuse_constant)
    except FileNotFoundError as error:
        raise RunFolderError(f"{path}: is missing, so this is not the folder of a run") from error
    except OSError as error:
        raise RunFolderError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise RunFolderError(f"{path}: damaged: {error}; run the study anew") from error
    if not isinstance(values, dict):
        raise RunFolderError(f"{path}: damaged: holds no object; run the study anew")
    return values


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no value; null stands for that")
