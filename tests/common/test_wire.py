"""Messages: what was meant arrives, and nothing that a hostile site sends does any harm."""

from __future__ import annotations

import io
import pickle
import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.common.serde import recorddict_from_proto, recorddict_to_proto
from flwr.supercore.task_identity import TaskIdentity
from hypothesis import given, settings
from hypothesis import strategies as st

from common import wire
from common.errors import ContributionError
from common.learners.base import ArraySpec, Contribution, State
from common.site_info import SiteInfo

SPEC = {
    "gram": ArraySpec((3,)),
    "class_sum": ArraySpec((2, 3)),
    "class_count": ArraySpec((2,), "int64", minimum=0, times_counted=1),
}
COUNT = 5
ARRAYS: dict[str, Any] = {
    "gram": np.array([1.5, -0.0, 1e-300]),
    "class_sum": np.array([[0.1, 0.2, 0.3], [-1.0, -2.0, np.pi]]),
    "class_count": np.array([3, 2]),
}
INFO = SiteInfo("rosendahl", 10, 7, 6, 1, 3, ("mel", "nv"), ("mel",), "f" * 64, 1)


def _travel(content: RecordDict) -> RecordDict:
    """Take a message through Flower's own encoding."""
    return recorddict_from_proto(
        type(recorddict_to_proto(content)).FromString(
            recorddict_to_proto(content).SerializeToString()
        )
    )


def _content(
    changed: dict[str, Array | None] | None = None, config: dict[str, Any] | None = None
) -> RecordDict:
    """Give a right contribution with some arrays replaced, added or left out."""
    arrays = {name: Array(array) for name, array in ARRAYS.items()}
    for name, array in (changed or {}).items():
        arrays.pop(name, None)
        if array is not None:
            arrays[name] = array
    return RecordDict(
        {
            "arrays": ArrayRecord(arrays),
            "config": ConfigRecord({"count": COUNT} if config is None else config),
        }
    )


def _refused(content: RecordDict, match: str) -> None:
    with pytest.raises(ContributionError, match=match):
        wire.decode_contribution(_travel(content), SPEC, COUNT)


def _npy(header: str, data: bytes) -> bytes:
    text = header.encode("latin1")
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def _gram(data: bytes, *, dtype: str = "float64", shape: tuple[int, ...] = (3,)) -> Array:
    return Array(dtype, shape, "numpy.ndarray", data)


def _saved(array: np.ndarray[Any, Any], *, allow_pickle: bool = False) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=allow_pickle)
    return stream.getvalue()


def test_a_contribution_arrives_bit_for_bit() -> None:
    content = _travel(wire.encode_contribution(Contribution(COUNT, ARRAYS)))
    arrived = wire.decode_contribution(content, SPEC, COUNT)
    assert arrived.count == COUNT
    assert arrived.arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert arrived.arrays[name].dtype == array.dtype
        assert arrived.arrays[name].shape == array.shape
        assert arrived.arrays[name].tobytes() == array.tobytes()


@settings(deadline=None, max_examples=40)
@given(
    shape=st.lists(st.integers(1, 5), min_size=1, max_size=3).map(tuple),
    dtype=st.sampled_from(["float64", "int64"]),
    seed=st.integers(0, 2**32 - 1),
    fortran=st.booleans(),
)
def test_arrays_of_any_shape_and_layout_arrive(
    shape: tuple[int, ...], dtype: str, seed: int, fortran: bool
) -> None:
    array = (np.random.default_rng(seed).normal(size=shape) * 1e3).astype(dtype)
    sent = np.asfortranarray(array) if fortran else array
    content = _travel(wire.encode_state(State("gram", {"a": sent})))
    state = wire.decode_state(content, {"a": ArraySpec(shape, dtype)})
    assert state.stage == "gram"
    np.testing.assert_array_equal(state.arrays["a"], array)


def test_a_state_without_arrays_arrives() -> None:
    state = wire.decode_state(_travel(wire.encode_state(State("moments", {}))), {})
    assert state == State("moments", {})


@pytest.mark.parametrize("malignant", [(), ("mel",), ("nv", "mel")])
def test_what_a_site_tells_arrives(malignant: tuple[str, ...]) -> None:
    info = replace(INFO, malignant=malignant)
    assert wire.decode_site_info(_travel(wire.encode_site_info(info))) == info


@pytest.mark.parametrize("name", SPEC)
def test_a_missing_array_is_refused(name: str) -> None:
    _refused(_content({name: None}), "wrong arrays")


def test_an_array_that_nobody_asked_for_is_refused() -> None:
    _refused(_content({"images": Array(np.zeros(3))}), "wrong arrays")


@pytest.mark.parametrize("shape", [(2,), (4,), (3, 1), (1, 3), ()])
def test_a_wrong_shape_is_refused(shape: tuple[int, ...]) -> None:
    _refused(_content({"gram": Array(np.zeros(shape))}), "gram: shape")


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "complex128", ">f8", "<M8[s]", "U2"])
def test_a_wrong_dtype_is_refused(dtype: str) -> None:
    _refused(_content({"gram": Array(np.zeros(3, dtype=dtype))}), "gram: (dtype|not float64)")


@pytest.mark.parametrize("dtype", ["<f4", "<i8", ">f8", "|O", "|V8"])
def test_a_dtype_hidden_behind_the_right_label_is_refused(dtype: str) -> None:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': (3,), }}\n"
    _refused(_content({"gram": _gram(_npy(header, b"\0" * 24))}), "gram: not float64")


def test_a_shape_hidden_behind_the_right_label_is_refused() -> None:
    _refused(_content({"gram": _gram(_saved(np.zeros(4)))}), "gram: not float64 of shape")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["gram", "class_sum"])
def test_a_value_that_is_not_finite_is_refused(name: str, value: float) -> None:
    array = ARRAYS[name].copy()
    array.flat[1] = value
    _refused(_content({name: Array(array)}), f"{name}: holds NaN or infinity")


def test_negative_counts_are_refused() -> None:
    _refused(_content({"class_count": Array(np.array([COUNT + 1, -1]))}), "class_count: below 0")


def test_class_counts_of_other_images_than_registered_are_refused() -> None:
    _refused(_content({"class_count": Array(np.array([3, 3]))}), "class_count: sums to 6")


def test_class_counts_that_wrap_around_to_the_right_sum_are_refused() -> None:
    huge = np.full(4, 2**62)
    huge[0] += COUNT
    assert int(huge.sum()) == COUNT, "the sum must wrap around for this test to mean anything"
    spec = {"class_count": ArraySpec((4,), "int64", minimum=0, times_counted=1)}
    content = RecordDict(
        {
            "arrays": ArrayRecord({"class_count": Array(huge)}),
            "config": ConfigRecord({"count": COUNT}),
        }
    )
    with pytest.raises(ContributionError, match="class_count: sums to"):
        wire.decode_contribution(content, spec, COUNT)


@pytest.mark.parametrize("count", [COUNT + 1, -COUNT, 0, 5.0, "5", True, [5], b"5"])
def test_another_count_than_registered_is_refused(count: object) -> None:
    _refused(_content(config={"count": count}), "^count: ")


def test_true_is_not_the_count_one() -> None:
    spec = {"gram": ArraySpec((1,))}
    content = RecordDict(
        {
            "arrays": ArrayRecord({"gram": Array(np.zeros(1))}),
            "config": ConfigRecord({"count": True}),
        }
    )
    with pytest.raises(ContributionError, match="count"):
        wire.decode_contribution(content, spec, 1)


def test_a_contribution_without_count_is_refused() -> None:
    _refused(_content(config={}), "count: None")


def test_records_of_the_wrong_kind_or_number_are_refused() -> None:
    _refused(RecordDict(), "settings record is missing")
    _refused(RecordDict({"config": ConfigRecord({"count": COUNT})}), "wrong records")
    config_is_metrics = _content()
    config_is_metrics["config"] = MetricRecord({"count": COUNT})
    _refused(config_is_metrics, "settings record is missing")
    arrays_are_config = _content()
    arrays_are_config["arrays"] = ConfigRecord({"gram": [1.0]})
    _refused(arrays_are_config, "wrong records")
    more = _content()
    more["extra"] = ConfigRecord({})
    _refused(more, "wrong records")


@pytest.mark.parametrize("stype", ["", "pickle", "numpy.ndarray2", "torch"])
def test_another_serialisation_is_refused(stype: str) -> None:
    array = Array("float64", (3,), stype, _saved(ARRAYS["gram"]))
    _refused(_content({"gram": array}), "gram: not float64")


UNPICKLED: list[str] = []


class Malice:
    """Would leave a mark when unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return _leave_a_mark, ()


def _leave_a_mark() -> None:
    UNPICKLED.append("mark")


@pytest.mark.parametrize("dtype", ["object", "float64"])
def test_a_pickled_array_is_refused_and_not_unpickled(dtype: str) -> None:
    data = _saved(np.array([Malice()] * 3, dtype=object), allow_pickle=True)
    _refused(_content({"gram": _gram(data, dtype=dtype)}), "gram: ")
    _refused(_content({"gram": _gram(pickle.dumps([Malice()]))}), "gram: ")
    assert not UNPICKLED
    np.load(io.BytesIO(data), allow_pickle=True)
    assert UNPICKLED, "unpickling must leave a mark for this test to mean anything"
    UNPICKLED.clear()


def test_fortran_order_is_refused() -> None:
    array = Array("float64", (2, 3), "numpy.ndarray", _saved(np.asfortranarray(np.ones((2, 3)))))
    _refused(_content({"class_sum": array}), "class_sum: not float64 .* C order")


@pytest.mark.parametrize("cut", [1, 8, 24, 25, 120, 150])
def test_truncated_data_are_refused(cut: int) -> None:
    data = _saved(ARRAYS["gram"])
    _refused(_content({"gram": _gram(data[:-cut])}), "gram: ")


def test_data_beyond_the_array_are_refused() -> None:
    _refused(_content({"gram": _gram(_saved(ARRAYS["gram"]) + b"\0")}), "25 bytes do not fill")


def _peak_of_refusing(array: Array, spec: ArraySpec) -> int:
    content = RecordDict(
        {"arrays": ArrayRecord({"a": array}), "config": ConfigRecord({"count": 1})}
    )
    tracemalloc.start()
    try:
        with pytest.raises(ContributionError, match=r"^a: "):
            wire.decode_contribution(content, {"a": spec}, 1)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("claimed", [(10**9,), (10**15,), (10**9, 10**9)])
def test_a_huge_claim_with_few_bytes_allocates_nothing(claimed: tuple[int, ...]) -> None:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {claimed}, }}\n"
    array = _gram(_npy(header, b"\0" * 24), shape=claimed)
    assert _peak_of_refusing(array, ArraySpec((3,))) < 100_000
    assert _peak_of_refusing(array, ArraySpec(claimed)) < 100_000
    assert _peak_of_refusing(_gram(array.data), ArraySpec((3,))) < 100_000


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': (((\n",
        "{1: 2, 'a': 3}\n",
        "{[]: 1}\n",
        "  {\n   1\n 2L",
        "(" * 9000,
        "-" * 60000,
        "{'descr': '<f8', 'fortran_order': False, 'shape': (True, True, True), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (3L,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-3,), }",
        "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (3,), }",
        "__import__('os').abort()",
        "",
    ],
)
def test_a_hostile_header_is_refused(header: str) -> None:
    _refused(_content({"gram": _gram(_npy(header, b"\0" * 24))}), "gram: not float64")


def test_what_a_site_sent_is_shown_on_one_bounded_line() -> None:
    names: dict[str, Array | None] = {f"\n\x1b[2J{i}": Array(np.zeros(1)) for i in range(10_000)}
    long = "x" * 100_000
    for content in (
        _content(names),
        _content({"gram": Array(long, (3,), "numpy.ndarray", b"")}),
        _content({"gram": Array("float64", (1,) * 10_000, "numpy.ndarray", b"")}),
        _content(config={"count": f"\n{long}"}),
    ):
        with pytest.raises(ContributionError) as caught:
            wire.decode_contribution(content, SPEC, COUNT)
        assert len(str(caught.value)) < 1000
        assert str(caught.value).isprintable()


@settings(deadline=None, max_examples=300)
@given(
    data=st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=200).map(lambda tail: b"\x93NUMPY\x01\x00" + tail),
        st.text(max_size=120).map(
            lambda text: _npy(text.encode("ascii", "replace").decode(), b"\0" * 24)
        ),
    )
)
def test_random_bytes_only_ever_raise_a_contribution_error(data: bytes) -> None:
    with pytest.raises(ContributionError):
        wire.decode_contribution(_content({"gram": _gram(data)}), SPEC, COUNT)


@settings(deadline=None, max_examples=300)
@given(
    changes=st.lists(st.tuples(st.integers(0, 151), st.integers(0, 255)), min_size=1, max_size=4),
    end=st.integers(0, 152),
)
def test_damaged_bytes_are_refused_or_fill_the_array(
    changes: list[tuple[int, int]], end: int
) -> None:
    data = bytearray(_saved(ARRAYS["gram"]))
    assert len(data) == 152
    for place, value in changes:
        data[place] = value
    content = _content({"gram": _gram(bytes(data[:end]))})
    try:
        arrays = wire.decode_contribution(content, SPEC, COUNT).arrays
    except ContributionError:
        return
    assert arrays["gram"].tobytes() == bytes(data[128:])


_VALUES: Any = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.text(max_size=10),
    st.binary(max_size=10),
    st.booleans(),
    st.lists(st.text(max_size=5), max_size=3),
    st.lists(st.integers(-5, 5), max_size=3),
)


_VALUES_OF_INFO: dict[str, Any] = {
    **INFO.__dict__,
    "classes": list(INFO.classes),
    "malignant": ["mel"],
    "withheld": ["train:mel", "test:nv:3"],
}


@settings(deadline=None, max_examples=300)
@given(
    changed=st.dictionaries(
        st.sampled_from([*INFO.__dict__, "other"]), _VALUES, min_size=1, max_size=4
    )
)
def test_hostile_site_information_is_refused_or_within_bounds(changed: dict[str, Any]) -> None:
    values = {**_VALUES_OF_INFO, **changed}
    content = RecordDict({"config": ConfigRecord(values)})
    try:
        info = wire.decode_site_info(content)
    except ContributionError:
        return
    parts = (info.train, info.validation, info.test)
    assert all(type(n) is int and 0 <= n < 2**53 for n in (info.images, info.lesions, *parts))
    assert sum(parts) == info.images >= info.lesions
    assert all(name.isprintable() and 0 < len(name) <= 200 for name in (info.site, *info.classes))
    assert type(info.split_seed) is int
    assert set(info.malignant) <= set(info.classes)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"train": 7}, "do not add up"),
        ({"lesions": 11}, "do not add up"),
        ({"train": -1, "test": 10}, "whole number"),
        ({"images": 10.0}, "whole number"),
        ({"images": 2**53, "train": 2**53 - 4}, "whole number"),
        ({"validation": True}, "whole number"),
        ({"split_seed": True}, "split_seed"),
        ({"split_seed": "1"}, "split_seed"),
        ({"site": ""}, "name"),
        ({"site": "x" * 201}, "name"),
        ({"site": 5}, "name"),
        ({"site": "a\nb"}, "control characters"),
        ({"site": "a\x1b[2J"}, "control characters"),
        ({"site": "abc\u202egpj"}, "control characters"),
        ({"classes": ["mel", "n\0v"]}, "control characters"),
        ({"classes": ["mel", ""]}, "name"),
        ({"classes": "mel"}, "name"),
        ({"malignant": ["scc"]}, "malignant: names what is no class"),
        ({"malignant": ["mel", "nv", "scc"]}, "malignant: names what is no class"),
        ({"malignant": ["mel", ""]}, "name"),
        ({"malignant": "mel"}, "list of names"),
        ({"malignant": [1]}, "list of names|name"),
        ({"malignant": ["mel\n"]}, "control characters"),
        ({"backbone": b"f"}, "name"),
        ({"patient": "Jane"}, "wrong fields"),
        ({"withheld": "train:mel"}, "list of names"),
        ({"withheld": ["train:mel"] * 2}, "twice"),
        ({"withheld": ["train:Jane"]}, "no part and class"),
        ({"withheld": ["all:mel"]}, "no part and class"),
        ({"withheld": ["train:mel:Jane"]}, "no part and class"),
        ({"withheld": ["train:mel:1234"]}, "no part and class"),
        ({"withheld": ["train:mel", ""]}, "name"),
        ({"withheld": ["train:mel\n"]}, "control characters"),
        ({"withheld": [f"train:mel:{n}" for n in range(1000)] * 11}, "too long"),
    ],
)
def test_wrong_site_information_is_refused(changed: dict[str, Any], match: str) -> None:
    values = {**_VALUES_OF_INFO, **changed}
    content = _travel(RecordDict({"config": ConfigRecord(values)}))
    with pytest.raises(ContributionError, match=match):
        wire.decode_site_info(content)


@pytest.mark.parametrize("field", INFO.__dict__)
def test_site_information_without_a_field_is_refused(field: str) -> None:
    values = dict(_VALUES_OF_INFO)
    del values[field]
    with pytest.raises(ContributionError, match="wrong fields"):
        wire.decode_site_info(RecordDict({"config": ConfigRecord(values)}))


@pytest.mark.parametrize("stage", ["", "x" * 201, 5, True, ["gram"], b"gram", "gram\x1b[2J"])
def test_a_stage_that_is_no_name_is_refused(stage: Any) -> None:
    content = RecordDict({"config": ConfigRecord({"stage": stage})})
    with pytest.raises(ContributionError, match="stage"):
        wire.decode_stage(content)


def test_a_state_is_checked_as_a_contribution_is() -> None:
    spec = {"scale": ArraySpec((2,), minimum=1e-300)}
    for scale, match in ((np.array([1.0, 0.0]), "below"), (np.array([1.0, np.nan]), "NaN")):
        with pytest.raises(ContributionError, match=match):
            wire.decode_state(wire.encode_state(State("gram", {"scale": scale})), spec)
    with pytest.raises(ContributionError, match="wrong arrays"):
        wire.decode_state(wire.encode_state(State("gram", {})), spec)


def test_an_error_reply_tells_a_category_and_an_identifier_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("_run_id", "_task_id", "_node_id"):
        monkeypatch.setattr(TaskIdentity, name, 1)
    message = Message(RecordDict(), 5, "query.join")
    reply = wire.error_reply("ImageError", "1a2b3c4d", message)
    assert reply.has_error()
    assert reply.error.code == 100
    assert reply.error.reason == "ImageError (the site's log says more under 1a2b3c4d)"


def test_bytes_of_a_message_count_arrays_and_settings() -> None:
    content = RecordDict(
        {
            "arrays": ArrayRecord({"ab": Array(np.zeros(1000))}),
            "config": ConfigRecord({"stage": "gram"}),
        }
    )
    assert 8000 + 128 + 2 + 9 <= wire.count_bytes(content) <= 8000 + 128 + 200
