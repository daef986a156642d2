"""Orders and updates of fine-tuning on the wire."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from flwr.app import ConfigRecord, MetricRecord, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from common import wire
from common.errors import ContributionError
from common.finetuning.order import Order, Update
from common.learners.base import ArraySpec
from common.split import Split

ORDER = Order("0123456789abcdef" * 2, 5, 4, 3, Split.TRAIN, (10, 0, 7))
SPEC = {"w": ArraySpec((2, 3), "float32")}
UPDATE = Update({"w": np.arange(6, dtype=np.float32).reshape(2, 3)}, 4, 0.5)


def _order(**changes: Any) -> RecordDict:
    config = dict(wire.encode_order(ORDER))
    config.update({name.replace("_", "-"): value for name, value in changes.items()})
    return RecordDict({"config": ConfigRecord(config)})


def test_an_order_arrives_as_it_was_sent_beside_what_flower_adds() -> None:
    assert wire.decode_order(_order(server_round=1, proximal_mu=0.1), 3) == ORDER


@pytest.mark.parametrize(
    "changes",
    [
        {"run": "../../etc"},
        {"run": "0" * 31},
        {"run": 1},
        {"part": "everything"},
        {"class_counts": [1, 2]},
        {"class_counts": [1, 2, -3]},
        {"class_counts": [1.0, 2.0, 3.0]},
        {"round": -1},
        {"round": True},
        {"state_round": 6},
        {"best_round": 6},
        {"more": 1},
    ],
)
def test_an_order_that_is_not_one_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ContributionError):
        wire.decode_order(_order(**changes), 3)


@given(
    st.dictionaries(
        st.sampled_from(["run", "round", "state-round", "best-round", "part", "class-counts"]),
        st.one_of(st.integers(-(2**62), 2**62), st.text(max_size=40), st.floats(), st.booleans()),
    )
)
def test_no_order_ends_in_another_error(config: dict[str, Any]) -> None:
    content = RecordDict({"config": ConfigRecord({**wire.encode_order(ORDER), **config})})
    try:
        found = wire.decode_order(content, 3)
    except ContributionError:
        return
    assert len(found.run) == 32
    assert max(found.state_round, found.best_round) <= found.round


def test_an_update_arrives_as_it_was_sent() -> None:
    found = wire.decode_update(wire.encode_update(UPDATE), SPEC)
    assert (found.steps, found.loss) == (4, 0.5)
    np.testing.assert_array_equal(found.arrays["w"], UPDATE.arrays["w"])


@pytest.mark.parametrize(
    "metrics",
    [
        {"steps": 0, "loss": 0.5},
        {"steps": 4.0, "loss": 0.5},
        {"steps": 4, "loss": float("nan")},
        {"steps": 4, "loss": -1.0},
        {"steps": 4, "loss": [0.5]},
        {"steps": 4},
        {"steps": 4, "loss": 0.5, "more": 1},
    ],
)
def test_an_update_of_wrong_numbers_is_refused(metrics: dict[str, Any]) -> None:
    content = wire.encode_update(UPDATE)
    content["metrics"] = MetricRecord(metrics)
    with pytest.raises(ContributionError):
        wire.decode_update(content, SPEC)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.full((2, 3), np.nan, dtype=np.float32), "w: holds NaN"),
        (np.full((2, 3), np.inf, dtype=np.float32), "w: holds NaN"),
        (np.zeros((3, 2), dtype=np.float32), "wrong arrays"),
        (np.zeros((2, 3)), "dtype"),
    ],
)
def test_an_update_of_wrong_arrays_is_refused(array: Any, reason: str) -> None:
    with pytest.raises(ContributionError, match=reason):
        wire.decode_update(wire.encode_update(Update({"w": array}, 4, 0.5)), SPEC)
