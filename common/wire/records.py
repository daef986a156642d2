"""Arrays and configurations as Flower records, and back, checked before use.

Arrays travel in NumPy's own format; its header is compared with what was asked for before a byte
of data is looked at; nothing is unpickled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, RecordDict

from common.errors import ContributionError
from common.learners.base import Arrays, ArraySpec

# Flower's own codes are below 100.
SITE_ERROR_CODE = 100
ARRAYS, CONFIG, METRICS = "arrays", "config", "metrics"
MAX_NAME = 200

_NUMPY, _MAGIC = "numpy.ndarray", b"\x93NUMPY\x01\x00"


def error_reply(category: str, identifier: str, message: Message) -> Message:
    """Refuse a message with a category and an identifier; details stay in the site's own log."""
    reason = f"{category} (the site's log says more under {identifier})"
    return Message(Error(SITE_ERROR_CODE, reason), reply_to=message)


def count_bytes(content: RecordDict) -> int:
    """Count what a message carries: arrays, names and settings, before transport encoding."""
    return sum(record.count_bytes() for record in content.values())


def config_of(content: RecordDict) -> ConfigRecord:
    """Take the settings out of a message.

    Raises
    ------
    ContributionError
        If there are none.
    """
    record = content.get(CONFIG)
    if not isinstance(record, ConfigRecord):
        raise ContributionError("the settings record is missing")
    return record


def encode_arrays(arrays: Arrays) -> ArrayRecord:
    """Pack arrays in NumPy's format."""
    return ArrayRecord({name: Array(np.ascontiguousarray(a)) for name, a in arrays.items()})


def decode_arrays(
    content: RecordDict,
    spec: Mapping[str, ArraySpec],
    others: frozenset[str] = frozenset({CONFIG}),
) -> dict[str, np.ndarray[Any, Any]]:
    """Unpack arrays that are of the specified names, shapes and dtypes.

    Parameters
    ----------
    content : RecordDict
        What arrived: one record of arrays, and the `others`.
    spec : mapping of str to ArraySpec
        What was asked for.
    others : frozenset of str
        Names of the records beside it.

    Raises
    ------
    ContributionError
        If it is anything else; values are not looked at.
    """
    record = content.get(ARRAYS)
    if not isinstance(record, ArrayRecord) or content.keys() != {ARRAYS, *others}:
        raise ContributionError(f"wrong records: {shown(sorted(content))}")
    if record.keys() != spec.keys():
        raise ContributionError(f"wrong arrays: {shown(sorted(record))}, expected {sorted(spec)}")
    return {name: _decode_array(name, record[name], wanted) for name, wanted in spec.items()}


def _decode_array(name: str, array: Array, wanted: ArraySpec) -> np.ndarray[Any, Any]:
    """Read NumPy's format 1.0, whose header must be the very text that NumPy writes for `wanted`.

    Nothing that a site claims is parsed, and nothing is allocated.
    """
    shape = tuple(array.shape)
    if not all(type(length) is int for length in shape) or not wanted.allows(shape):
        raise ContributionError(f"{name}: shape {shown(array.shape)}, expected {wanted.shape}")
    if array.dtype != wanted.dtype:
        raise ContributionError(f"{name}: dtype {shown(array.dtype)}, expected {wanted.dtype}")
    dtype = np.dtype(wanted.dtype)
    end = len(_MAGIC) + 2 + int.from_bytes(array.data[len(_MAGIC) : len(_MAGIC) + 2], "little")
    header = f"{{'descr': {dtype.str!r}, 'fortran_order': False, 'shape': {shape}, }}"
    found = array.data[len(_MAGIC) + 2 : end]
    if (
        array.stype != _NUMPY
        or not array.data.startswith(_MAGIC)
        or found.rstrip() != header.encode()
    ):
        raise ContributionError(
            f"{name}: not {wanted.dtype} of shape {shape} in NumPy's format 1.0, C order"
        )
    data = memoryview(array.data)[end:]
    if len(data) != dtype.itemsize * math.prod(shape):
        raise ContributionError(f"{name}: {len(data)} bytes do not fill shape {shape}")
    return np.frombuffer(data, dtype).reshape(shape)


def shown(value: object) -> str:
    """Show what a site sent, on one line of bounded length."""
    text = repr(value)
    return text if len(text) <= MAX_NAME else f"{text[:MAX_NAME]}..."
