"""A ledger's entry: what one site contributed to a closed form, as a file without pickle."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from common.errors import ContributionError, RunFolderError
from common.learners.base import Contribution, Problem
from common.learners.checked import check_arrays
from common.learners.class_gram import ClassGrams

ENDING = ".safetensors"
_ARRAY, _META = "class_gram", "entry"


@dataclass(frozen=True)
class EntryDescription:
    """Whose sums an entry holds, and of what.

    Attributes
    ----------
    site : str
        The site.
    images : int
        Training images that are summed over, after any treatment of imbalance.
    classes : tuple of str
        Class names, in order.
    dimension : int
        Length of a feature vector.
    backbone_fingerprint : str
        What the features come from.
    split_seed : int
        Seed of the split.
    withheld : tuple of str
        What the site's disclosure policy kept back.
    imbalance : str
        What the site did against imbalance, as `common.imbalance.Treatment.text`.
    metadata : str
        How metadata stand beside the image features, as `common.metadata.Fusion.text`.
    """

    site: str
    images: int
    classes: tuple[str, ...]
    dimension: int
    backbone_fingerprint: str
    split_seed: int
    withheld: tuple[str, ...]
    imbalance: str = ""
    metadata: str = ""


@dataclass(frozen=True)
class Entry:
    """A site's entry.

    Attributes
    ----------
    description : EntryDescription
        Everything but numbers.
    contribution : Contribution
        ``class_gram`` (see `common.learners.class_gram`).
    """

    description: EntryDescription
    contribution: Contribution


def save_entry(path: Path, entry: Entry) -> None:
    """Write an entry."""
    meta = {_META: json.dumps(asdict(entry.description))}
    array = np.ascontiguousarray(entry.contribution.arrays[_ARRAY])
    save_file({_ARRAY: array}, path, metadata=meta)


def load_entry(path: Path) -> Entry:
    """Read an entry and check it.

    Raises
    ------
    RunFolderError
        If the file is missing, damaged or holds sums that no images can have.
    """
    if not path.is_file():
        raise RunFolderError(f"{path}: missing; is it the entry of a ledger?")
    try:
        with safe_open(path, framework="numpy") as file:
            meta: dict[str, str] = file.metadata() or {}
            about = TypeAdapter(EntryDescription).validate_json(meta.get(_META, ""))
            arrays: dict[str, Any] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        grams = ClassGrams(Problem(about.classes, about.dimension))
        check_arrays(arrays, grams.spec())
        contribution = Contribution(about.images, arrays)
        grams.verify(contribution)
    except ValidationError as error:
        raise RunFolderError(f"{path}: damaged: {error.errors()[0]['msg']}") from error
    except (SafetensorError, ContributionError) as error:
        raise RunFolderError(f"{path}: damaged: {error}") from error
    return Entry(about, contribution)
