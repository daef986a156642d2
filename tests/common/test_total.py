"""The total over sites, against exact addition."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from common.errors import ContributionError
from common.learners.base import Contribution
from common.learners.total import Total

EPS = float(np.finfo(np.float64).eps)
NUMBERS = st.floats(-1e12, 1e12, allow_nan=False, allow_infinity=False)


def _of(*values: float) -> Contribution:
    return Contribution(1, {"x": np.array(values)})


def _total(numbers: list[float]) -> float:
    total = Total()
    for number in numbers:
        total.add(_of(number))
    return float(total.value().arrays["x"][0])


@settings(max_examples=200)
@given(numbers=st.lists(NUMBERS, min_size=1, max_size=40), data=st.data())
def test_it_is_the_exact_sum_whatever_the_order(numbers: list[float], data: st.DataObject) -> None:
    exact = math.fsum(numbers)
    # What is left of compensated addition's error is of second order in the rounding.
    second = (len(numbers) * EPS) ** 2 * math.fsum(map(abs, numbers))
    bound = math.ulp(exact) + second
    assert abs(_total(numbers) - exact) <= bound
    assert abs(_total(data.draw(st.permutations(numbers))) - exact) <= bound


def test_it_keeps_what_plain_addition_loses() -> None:
    rng = np.random.default_rng(0)
    large = rng.normal(size=100) * 1e13
    numbers = rng.permutation(np.concatenate([large, -large, rng.normal(size=100)])).tolist()
    exact = math.fsum(numbers)
    plain = 0.0
    for number in numbers:
        plain += number
    assert abs(plain - exact) > 1e-4 * abs(exact)
    assert abs(_total(numbers) - exact) <= 1e-12 * abs(exact)


def test_elements_are_added_by_themselves_and_images_counted() -> None:
    total = Total()
    a = Contribution(2, {"x": np.array([[1.0, 2.0]]), "n": np.array([1, 0])})
    b = Contribution(3, {"x": np.array([[10.0, 20.0]]), "n": np.array([3, 4])})
    total.add(a)
    first = total.value()
    total.add(b)
    assert (total.value().count, total.sites) == (5, 2)
    assert total.value().arrays["x"].tolist() == [[11.0, 22.0]]
    assert total.value().arrays["n"].tolist() == [4, 4]
    # Neither what was added nor an earlier value changes.
    assert (first.count, first.arrays["x"].tolist()) == (2, [[1.0, 2.0]])
    assert first.arrays["n"].tolist() == a.arrays["n"].tolist() == [1, 0]
    assert a.arrays["x"].tolist() == [[1.0, 2.0]]
    assert b.arrays["x"].tolist() == [[10.0, 20.0]]


@settings(max_examples=100)
@given(
    kept=st.lists(NUMBERS, min_size=1, max_size=20),
    left=st.lists(NUMBERS, max_size=20),
)
def test_subtracting_leaves_what_the_others_add_up_to(kept: list[float], left: list[float]) -> None:
    total = Total()
    for number in kept + left:
        total.add(_of(number))
    for number in left:
        total.subtract(_of(number))
    exact = math.fsum(kept)
    second = (2 * len(kept + left) * EPS) ** 2 * math.fsum(map(abs, kept + left))
    assert abs(float(total.value().arrays["x"][0]) - exact) <= math.ulp(exact) + second
    assert (total.value().count, total.sites) == (len(kept), len(kept))


def test_whole_numbers_stay_whole_beyond_what_a_float_holds() -> None:
    total = Total()
    numbers = [2**53 + 1, 3, -(2**40), 1]
    for number in numbers:
        total.add(Contribution(1, {"n": np.array([number, 1])}))
    total.subtract(Contribution(1, {"n": np.array([3, 1])}))
    value: NDArray[Any] = total.value().arrays["n"]
    assert value.dtype == np.int64
    assert value.tolist() == [2**53 + 1 - 2**40 + 1, 3]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_sums_that_overflow_are_refused_by_name(sign: float) -> None:
    total = Total()
    total.add(_of(sign * 1e308, 0.0))
    assert total.value().arrays["x"].tolist() == [sign * 1e308, 0.0]
    total.add(_of(sign * 1e308, 0.0))
    with pytest.raises(ContributionError, match="x: the sum over the sites overflows"):
        total.value()


def test_without_a_site_there_is_no_total() -> None:
    total = Total()
    with pytest.raises(ContributionError, match="no site"):
        total.value()
    total.add(_of(1.0))
    total.subtract(_of(1.0))
    with pytest.raises(ContributionError, match="no site"):
        total.value()
