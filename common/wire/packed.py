"""The arrays of a network as one, end to end: Flower sends every array as an object of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, cast

import numpy as np

from common.learners.base import Arrays, ArraySpec
from common.learners.checked import check_arrays
from common.wire.records import CONFIG, decode_arrays, encode_arrays

if TYPE_CHECKING:
    from flwr.app import ArrayRecord, RecordDict
    from numpy.typing import NDArray


def pack_arrays(arrays: Arrays) -> ArrayRecord:
    """Pack arrays of float32 into one, in the order of their names.

    Parameters
    ----------
    arrays : mapping of str to ndarray of float32
        There may be none: all that is trained may stay at the site.

    Returns
    -------
    ArrayRecord
        One array, whose name is a digest of theirs and of their shapes.
    """
    names = sorted(arrays)
    none = np.zeros(0, np.float32)
    packed = np.concatenate([none, *(arrays[name].ravel() for name in names)])
    return encode_arrays({_layout({name: arrays[name].shape for name in names}): packed})


def unpack_arrays(
    content: RecordDict,
    spec: Mapping[str, ArraySpec],
    others: frozenset[str] = frozenset({CONFIG}),
) -> dict[str, NDArray[np.float32]]:
    """Unpack and check arrays of float32.

    Parameters
    ----------
    content : RecordDict
        What arrived: the one array, and the `others`.
    spec : mapping of str to ArraySpec
        What was asked for, of float32 and of exact shapes.
    others : frozenset of str
        Names of the records beside it.

    Raises
    ------
    ContributionError
        If names, shapes, dtype or values are not what `spec` asks for.
    """
    shapes = {name: cast("tuple[int, ...]", spec[name].shape) for name in sorted(spec)}
    ends = np.cumsum([spec[name].elements for name in shapes], dtype=np.int64)
    size, packed = sum(spec[name].elements for name in shapes), _layout(shapes)
    found = decode_arrays(content, {packed: ArraySpec((size,), "float32")}, others)[packed]
    # What is behind the last one's end is empty.
    parts = np.split(found, ends)[:-1]
    arrays = {
        name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)
    }
    check_arrays(arrays, spec)
    return {name: arrays[name] for name in spec}


def _layout(shapes: Mapping[str, tuple[int, ...]]) -> str:
    text = json.dumps([[name, *shape] for name, shape in shapes.items()])
    return f"weights-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
