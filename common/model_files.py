"""A model on disk: a description in JSON beside its arrays in safetensors, no pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from common.errors import RunFolderError
from common.learners.base import Arrays

Description = TypeVar("Description")


def save_model_files(
    description: Path, weights: Path, about: Mapping[str, Any], arrays: Arrays
) -> None:
    """Write both files into a folder that exists."""
    # safetensors writes an array's memory as it lies, whatever its strides.
    save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, weights)
    description.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def load_model_files(
    description: Path, weights: Path, kind: type[Description], hint: str
) -> tuple[Description, dict[str, Any]]:
    """Read both files.

    Parameters
    ----------
    description, weights : Path
        The files.
    kind : type
        Dataclass of what the description holds.
    hint : str
        What is wrong where one is missing.

    Returns
    -------
    about : of the type `kind`
        The description.
    arrays : dict of str to ndarray
        Not checked against it.

    Raises
    ------
    RunFolderError
        If one is missing or damaged.
    """
    for path in (description, weights):
        if not path.is_file():
            raise RunFolderError(f"{path}: missing; {hint}")
    about = read_description_file(description, kind, hint)
    try:
        return about, load_file(weights)
    except SafetensorError as error:
        raise RunFolderError(f"{weights}: damaged: {error}") from error


def read_description_file(path: Path, kind: type[Description], hint: str) -> Description:
    """Read a description.

    Parameters
    ----------
    path, kind, hint
        As in `load_model_files`.

    Raises
    ------
    RunFolderError
        If it cannot be read or is damaged.
    """
    try:
        return TypeAdapter(kind).validate_json(path.read_bytes())
    except OSError as error:
        raise RunFolderError(f"{path}: {error.strerror}; {hint}") from error
    except ValidationError as error:
        raise RunFolderError(f"{path}: damaged: {error.errors()[0]['msg']}") from error
