"""``predictions.csv`` of a study: every test image's prediction by every model."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from common.errors import RunFolderError
from common.split import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Columns of text, in the file's order; after them one of probabilities for each class.
COLUMNS = (
    *("learner", "model", "condition", "split_seed", "split", "image_id", "lesion_id", "cluster"),
    *("site", "client", "sex", "age_band", "localisation", "label_source", "skin_tone"),
    *("y_true", "y_pred"),
)


@dataclass(frozen=True)
class PredictionsTable:
    """One row a test image, model, condition and split seed; every column has length n.

    Attributes
    ----------
    text : mapping of str to ndarray of str, shape (n,)
        `COLUMNS` by name.
    classes : tuple of str, length k
        Class names, in the order of the probabilities.
    probabilities : ndarray of float64, shape (n, k)
        The model's.
    """

    text: Mapping[str, NDArray[np.str_]]
    classes: tuple[str, ...]
    probabilities: NDArray[np.float64]

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.probabilities)

    def rows(self, **values: str) -> NDArray[np.intp]:
        """Find the rows that hold these texts, ascending."""
        found = np.ones(len(self), dtype=np.bool_)
        for column, value in values.items():
            found &= self.text[column] == value
        return np.flatnonzero(found)


def read_predictions(path: Path, classes: tuple[str, ...]) -> PredictionsTable:
    """Read the table's test images; a simulation's has the other images, too.

    Parameters
    ----------
    path : Path
        The file.
    classes : tuple of str
        The classes that it must have probabilities of.

    Raises
    ------
    RunFolderError
        If it is missing or damaged, or lacks a column; the message names the file, the row and
        the column.
    """
    needed = (*COLUMNS, *(f"p_{name}" for name in classes))
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            header = next(reader, [])
            missing = [name for name in needed if name not in header]
            if missing:
                raise RunFolderError(f"{path}: column {missing[0]} is missing; run the study anew")
            rows = list(reader)
    except FileNotFoundError as error:
        raise RunFolderError(f"{path}: is missing; run the study anew") from error
    except OSError as error:
        raise RunFolderError(f"{path}: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise RunFolderError(f"{path}: not a CSV file in UTF-8: {error}") from error
    if not rows:
        raise RunFolderError(f"{path}: no row of data; run the study anew")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise RunFolderError(
                f"{path}: row {number} has {len(row)} fields, the header has {len(header)}"
            )
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    for name in ("y_true", "y_pred"):
        _refuse_strangers(path, name, columns[name], classes)
    test = np.array(columns["split"]) == Split.TEST.value
    if not test.any():
        raise RunFolderError(f"{path}: no row of a test image; run the study anew")
    p = np.stack([_numbers(path, f"p_{name}", columns[f"p_{name}"]) for name in classes], axis=1)
    return PredictionsTable(
        text={name: np.array(columns[name])[test] for name in COLUMNS},
        classes=classes,
        probabilities=p[test],
    )


def _refuse_strangers(
    path: Path, column: str, values: Sequence[str], classes: tuple[str, ...]
) -> None:
    strangers = set(values) - set(classes)
    if strangers:
        first = min(strangers)
        raise RunFolderError(
            f"{path}: row {values.index(first) + 2}: column {column}: "
            f"{first!r} is none of the classes {', '.join(classes)}"
        )


def _numbers(path: Path, column: str, values: Sequence[str]) -> NDArray[np.float64]:
    try:
        numbers = np.array(values, dtype=np.float64)
    except ValueError as error:
        raise RunFolderError(f"{path}: column {column}: {error}") from error
    wrong = ~((numbers >= 0) & (numbers <= 1 + 1e-9))
    if wrong.any():
        row = int(wrong.argmax())
        raise RunFolderError(
            f"{path}: row {row + 2}: column {column}: {values[row]!r} is no probability"
        )
    return numbers
