"""Adding sums, and refusing arrays that are not what was asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from common.errors import ContributionError, SettingsError
from common.learners import LEARNERS, make_learner
from common.learners.base import (
    ArraySpec,
    Contribution,
    Problem,
    State,
    add,
    check_arrays,
    fit_sites,
)

SPEC = {
    "x": ArraySpec((2,), minimum=0.0),
    "count": ArraySpec((2, 2), "int64", minimum=0, times_counted=2),
}
RIGHT: dict[str, Any] = {"x": np.array([0.0, 1.0]), "count": np.array([[1, 2], [3, 0]])}
PROBLEM = Problem(("a", "b"), 2)


def test_right_arrays_pass() -> None:
    check_arrays(RIGHT, SPEC, 3)
    check_arrays(RIGHT, SPEC)
    check_arrays({}, {})


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"x": np.zeros(3)}, r"x: shape \(3,\), expected \(2,\)"),
        ({"x": np.zeros((2, 1))}, "x: shape"),
        ({"x": np.float64(1.0)}, "x: shape"),
        ({"x": np.zeros(2, np.float32)}, "x: dtype float32, expected float64"),
        ({"x": np.zeros(2, np.int64)}, "x: dtype"),
        ({"x": np.array([None, None])}, "x: dtype"),
        ({"x": np.array([0.0, np.nan])}, "x: holds NaN or infinity"),
        ({"x": np.array([np.inf, 0.0])}, "x: holds NaN or infinity"),
        ({"x": np.array([-1e-300, 0.0])}, "x: below 0"),
        ({"count": np.array([[-1, 2], [5, 0]])}, "count: below 0"),
        ({"count": np.array([[1, 2], [2, 0]])}, "count: sums to 5, not to 6 for 3 images"),
        ({"count": np.zeros((2, 2))}, "count: dtype"),
        ({"count": np.zeros((2, 2), dtype=np.bool_)}, "count: dtype"),
        ({"y": np.zeros(2)}, r"missing \[\], not asked for \['y'\]"),
    ],
)
def test_a_wrong_array_is_refused_by_name(changed: dict[str, Any], match: str) -> None:
    with pytest.raises(ContributionError, match=match):
        check_arrays({**RIGHT, **changed}, SPEC, 3)


def test_a_missing_array_is_refused_by_name() -> None:
    with pytest.raises(ContributionError, match=r"missing \['count'\]"):
        check_arrays({"x": RIGHT["x"]}, SPEC, 3)


def test_adding_adds_counts_and_arrays_and_changes_neither() -> None:
    a = Contribution(2, {"x": np.array([1.0, 2.0])})
    b = Contribution(3, {"x": np.array([10.0, 20.0])})
    total = add(add(None, a), b)
    assert total.count == 5
    assert total.arrays["x"].tolist() == [11.0, 22.0]
    assert a.arrays["x"].tolist() == [1.0, 2.0]
    assert b.arrays["x"].tolist() == [10.0, 20.0]


def test_sums_that_overflow_are_refused() -> None:
    huge = Contribution(1, {"x": np.array([1e308, 0.0])})
    with pytest.raises(ContributionError, match="x: the sum over the sites overflows"):
        add(huge, huge)


def test_no_site_at_all_is_an_error() -> None:
    with pytest.raises(ContributionError, match="no site"):
        fit_sites(make_learner("ridge", PROBLEM, 1.0), [])


@pytest.mark.parametrize("alpha", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("name", LEARNERS)
def test_a_penalty_out_of_bounds_is_refused(name: str, alpha: float) -> None:
    with pytest.raises(SettingsError, match="alpha"):
        make_learner(name, PROBLEM, alpha)


def test_an_unknown_learner_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(SettingsError, match=r"learner 'forest' is unknown; .*ridge"):
        make_learner("forest", PROBLEM, 1.0)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_learner_refuses_a_stage_that_it_does_not_have(name: str) -> None:
    learner = make_learner(name, PROBLEM, 1.0)
    with pytest.raises(ContributionError, match="'pixels'"):
        learner.state_spec("pixels")
    with pytest.raises(ContributionError, match="'pixels'"):
        learner.contribution_spec("pixels")


@pytest.mark.parametrize("name", LEARNERS)
def test_the_first_state_is_what_its_specification_says(name: str) -> None:
    learner = make_learner(name, PROBLEM, 1.0)
    state: State = learner.start()
    assert not state.done
    check_arrays(state.arrays, learner.state_spec(state.stage))
