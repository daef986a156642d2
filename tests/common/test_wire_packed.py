"""The arrays of a network as one on the wire."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.app import ArrayRecord, ConfigRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hn

from common import wire
from common.errors import ContributionError
from common.learners.base import ArraySpec

SPEC = {"b": ArraySpec((2, 3), "float32"), "a": ArraySpec((3,), "float32", minimum=0.0)}
ARRAYS = {
    "b": np.arange(6, dtype=np.float32).reshape(2, 3),
    "a": np.array([7, 8, 9], dtype=np.float32),
}
SOME = hn.arrays(
    np.float32,
    hn.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
)


def _message(record: ArrayRecord) -> RecordDict:
    return RecordDict({"arrays": record, "config": ConfigRecord()})


@given(st.dictionaries(st.text(min_size=1, max_size=8), SOME, max_size=5))
def test_arrays_arrive_as_they_were_sent(arrays: dict[str, Any]) -> None:
    spec = {name: ArraySpec(array.shape, "float32") for name, array in arrays.items()}
    found = wire.unpack_arrays(_message(wire.pack_arrays(arrays)), spec)
    assert list(found) == list(spec)
    for name, array in arrays.items():
        assert found[name].dtype == np.float32
        np.testing.assert_array_equal(found[name], array, strict=True)


def test_they_travel_as_one_array_whatever_the_order_they_are_given_in() -> None:
    packed = wire.pack_arrays(ARRAYS)
    (found,) = packed.values()
    np.testing.assert_array_equal(found.numpy(), np.array([7, 8, 9, 0, 1, 2, 3, 4, 5], np.float32))
    turned = wire.pack_arrays(dict(reversed(ARRAYS.items())))
    assert {name: one.data for name, one in turned.items()} == {
        name: one.data for name, one in packed.items()
    }


@pytest.mark.parametrize(
    "arrays",
    [
        {**ARRAYS, "b": ARRAYS["b"].reshape(3, 2)},
        {"c": ARRAYS["b"], "a": ARRAYS["a"]},
        {"b": ARRAYS["a"], "a": ARRAYS["b"]},
        {"b": ARRAYS["b"]},
        {**ARRAYS, "c": np.zeros(0, np.float32)},
        {},
    ],
)
def test_arrays_of_other_names_or_shapes_are_refused(arrays: dict[str, Any]) -> None:
    with pytest.raises(ContributionError, match="wrong arrays"):
        wire.unpack_arrays(_message(wire.pack_arrays(arrays)), SPEC)


@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.float16])
def test_numbers_of_another_kind_are_refused(dtype: Any) -> None:
    (name,) = wire.pack_arrays(ARRAYS)
    record = ArrayRecord()
    record[name] = next(iter(ArrayRecord([np.zeros(9, dtype)]).values()))
    with pytest.raises(ContributionError, match="dtype"):
        wire.unpack_arrays(_message(record), SPEC)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [("b", np.nan, "b: holds NaN"), ("a", -np.inf, "a: holds NaN"), ("a", -1.0, "a: below 0")],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_array(
    name: str, value: float, reason: str
) -> None:
    wrong = ARRAYS[name].copy()
    wrong.flat[1] = value
    with pytest.raises(ContributionError, match=reason):
        wire.unpack_arrays(_message(wire.pack_arrays({**ARRAYS, name: wrong})), SPEC)


def test_numbers_that_are_missing_are_refused() -> None:
    (name,) = wire.pack_arrays(ARRAYS)
    record = ArrayRecord()
    record[name] = next(iter(ArrayRecord([np.zeros(8, np.float32)]).values()))
    with pytest.raises(ContributionError, match=r"shape \(8,\), expected \(9,\)"):
        wire.unpack_arrays(_message(record), SPEC)
