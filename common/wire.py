"""Contributions and states as Flower records, and back, checked before use.

The one module of `common` that knows Flower. Arrays travel in NumPy's own format; its header is
compared with what was asked for before a byte of data is looked at; nothing is unpickled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, RecordDict

from common.errors import ContributionError
from common.learners.base import Arrays, ArraySpec, Contribution, State, check_arrays
from common.site_info import SiteInfo
from common.split import Split

JOIN = "query.join"
CONTRIBUTE = "train.contribute"
EVALUATE = "evaluate.sums"

# Flower's own codes are below 100.
SITE_ERROR_CODE = 100

_ARRAYS, _CONFIG = "arrays", "config"
_MAX_NAME, _MAX_NAMES, _MAX_DIGITS = 200, 10_000, 3
_NUMPY, _MAGIC = "numpy.ndarray", b"\x93NUMPY\x01\x00"


def encode_state(state: State) -> RecordDict:
    """Pack a state for the sites."""
    config = ConfigRecord({"stage": state.stage})
    return RecordDict({_ARRAYS: _encode(state.arrays), _CONFIG: config})


def decode_stage(content: RecordDict) -> str:
    """Read the stage that a coordinator asks for."""
    stage = _config(content).get("stage")
    if not isinstance(stage, str) or not 0 < len(stage) <= _MAX_NAME or not stage.isprintable():
        raise ContributionError("stage: missing or not a name")
    return stage


def decode_state(content: RecordDict, spec: Mapping[str, ArraySpec]) -> State:
    """Unpack and check a state.

    Raises
    ------
    ContributionError
        If it is not what `spec` asks for.
    """
    arrays = _decode(content, spec)
    check_arrays(arrays, spec)
    return State(decode_stage(content), arrays)


def encode_contribution(contribution: Contribution) -> RecordDict:
    """Pack a contribution for the coordinator."""
    config = ConfigRecord({"count": contribution.count})
    return RecordDict({_ARRAYS: _encode(contribution.arrays), _CONFIG: config})


def decode_contribution(
    content: RecordDict, spec: Mapping[str, ArraySpec], registered: int
) -> Contribution:
    """Unpack and check a contribution.

    Parameters
    ----------
    content : RecordDict
        What a site sent.
    spec : mapping of str to ArraySpec
        What the round asked for.
    registered : int
        Images that the site said it would sum over when it joined.

    Raises
    ------
    ContributionError
        If names, shapes, dtypes, values or the count are not what they must be.
    """
    count = _config(content).get("count")
    if not isinstance(count, int) or isinstance(count, bool) or count != registered:
        raise ContributionError(f"count: {_shown(count)}, but {registered} images were registered")
    arrays = _decode(content, spec)
    check_arrays(arrays, spec, count)
    return Contribution(count, arrays)


def encode_site_info(info: SiteInfo) -> RecordDict:
    """Pack what a site tells when it joins."""
    values = {
        **asdict(info),
        "classes": list(info.classes),
        # Flower has no empty list.
        "malignant": list(info.malignant) or [""],
        "withheld": list(info.withheld) or [""],
    }
    return RecordDict({_CONFIG: ConfigRecord(values)})


def decode_site_info(content: RecordDict) -> SiteInfo:
    """Unpack and check what a site tells when it joins.

    Raises
    ------
    ContributionError
        If a field is missing, unknown or out of bounds.
    """
    config = dict(_config(content))
    if config.keys() != {field.name for field in fields(SiteInfo)}:
        raise ContributionError(f"wrong fields: {_shown(sorted(config))}")
    counts = [config[name] for name in ("images", "lesions", "train", "validation", "test")]
    if not all(type(count) is int and 0 <= count < 2**53 for count in counts):
        raise ContributionError("a count is not a whole number")
    images, lesions, *parts = (int(str(count)) for count in counts)
    if sum(parts) != images or lesions > images:
        raise ContributionError("the parts of the split do not add up to the images")
    if type(config["split_seed"]) is not int:
        raise ContributionError("split_seed: not a whole number")
    classes, malignant, withheld = (
        _names(config[name]) for name in ("classes", "malignant", "withheld")
    )
    site, backbone = _names([config["site"], config["backbone"]])
    if not set(malignant) <= set(classes):
        raise ContributionError("malignant: names what is no class")
    _check_withheld(withheld, classes)
    return SiteInfo(
        site=site,
        images=images,
        lesions=lesions,
        train=parts[0],
        validation=parts[1],
        test=parts[2],
        classes=tuple(classes),
        malignant=tuple(malignant),
        backbone=backbone,
        split_seed=int(str(config["split_seed"])),
        withheld=tuple(withheld),
    )


def _names(values: object) -> list[str]:
    """Check a list of names; Flower has no empty list, so one empty name stands for it."""
    if not isinstance(values, list):
        raise ContributionError("a list of names is missing")
    if len(values) > _MAX_NAMES:
        raise ContributionError("a list of names is too long")
    names = [] if values == [""] else values
    if not all(isinstance(name, str) and 0 < len(name) <= _MAX_NAME for name in names):
        raise ContributionError("a name is missing, not text or too long")
    if not all(name.isprintable() for name in names):
        raise ContributionError("a name holds control characters")
    return [str(name) for name in names]


def _check_withheld(withheld: list[str], classes: list[str]) -> None:
    """Refuse what is not ``part:class`` or ``part:class:fold``, or comes twice."""
    known = {f"{part.value}:{name}" for part in Split for name in classes}
    for item in withheld:
        cell, _, fold = item.rpartition(":")
        of_fold = cell in known and fold.isdecimal() and len(fold) <= _MAX_DIGITS
        if item not in known and not of_fold:
            raise ContributionError(f"withheld: {_shown(item)} is no part and class")
    if len(set(withheld)) < len(withheld):
        raise ContributionError("withheld: a cell comes twice")


def error_reply(category: str, identifier: str, message: Message) -> Message:
    """Refuse a message with a category and an identifier; details stay in the site's own log."""
    reason = f"{category} (the site's log says more under {identifier})"
    return Message(Error(SITE_ERROR_CODE, reason), reply_to=message)


def count_bytes(content: RecordDict) -> int:
    """Count what a message carries: arrays, names and settings, before transport encoding."""
    return sum(record.count_bytes() for record in content.values())


def _config(content: RecordDict) -> ConfigRecord:
    record = content.get(_CONFIG)
    if not isinstance(record, ConfigRecord):
        raise ContributionError("the settings record is missing")
    return record


def _encode(arrays: Arrays) -> ArrayRecord:
    return ArrayRecord({name: Array(np.ascontiguousarray(a)) for name, a in arrays.items()})


def _decode(content: RecordDict, spec: Mapping[str, ArraySpec]) -> dict[str, np.ndarray[Any, Any]]:
    record = content.get(_ARRAYS)
    if not isinstance(record, ArrayRecord) or content.keys() != {_ARRAYS, _CONFIG}:
        raise ContributionError(f"wrong records: {_shown(sorted(content))}")
    if record.keys() != spec.keys():
        raise ContributionError(f"wrong arrays: {_shown(sorted(record))}, expected {sorted(spec)}")
    return {name: _decode_array(name, record[name], wanted) for name, wanted in spec.items()}


def _decode_array(name: str, array: Array, wanted: ArraySpec) -> np.ndarray[Any, Any]:
    """Read NumPy's format 1.0, whose header must be the very text that NumPy writes for `wanted`.

    Nothing that a site claims is parsed, and nothing is allocated.
    """
    if array.shape != wanted.shape:
        raise ContributionError(f"{name}: shape {_shown(array.shape)}, expected {wanted.shape}")
    if array.dtype != wanted.dtype:
        raise ContributionError(f"{name}: dtype {_shown(array.dtype)}, expected {wanted.dtype}")
    dtype = np.dtype(wanted.dtype)
    end = len(_MAGIC) + 2 + int.from_bytes(array.data[len(_MAGIC) : len(_MAGIC) + 2], "little")
    header = f"{{'descr': {dtype.str!r}, 'fortran_order': False, 'shape': {wanted.shape}, }}"
    found = array.data[len(_MAGIC) + 2 : end]
    if (
        array.stype != _NUMPY
        or not array.data.startswith(_MAGIC)
        or found.rstrip() != header.encode()
    ):
        raise ContributionError(
            f"{name}: not {wanted.dtype} of shape {wanted.shape} in NumPy's format 1.0, C order"
        )
    data = memoryview(array.data)[end:]
    if len(data) != dtype.itemsize * math.prod(wanted.shape):
        raise ContributionError(f"{name}: {len(data)} bytes do not fill shape {wanted.shape}")
    return np.frombuffer(data, dtype).reshape(wanted.shape)


def _shown(value: object) -> str:
    """Show what a site sent, on one line of bounded length."""
    text = repr(value)
    return text if len(text) <= _MAX_NAME else f"{text[:_MAX_NAME]}..."
