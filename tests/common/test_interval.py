"""Intervals from draws: against scipy's BCa and skewness, and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import bootstrap, skew

from common.metrics import Interval, make_interval
from common.metrics.interval import acceleration, two_sided_p

DRAWS = st.lists(st.integers(-50, 50), min_size=2, max_size=60)


def _values(*draws: float, value: float = 0.0) -> NDArray[np.float64]:
    return np.array([value, *draws])


def _found(interval: Interval) -> tuple[float, float, float]:
    assert interval.value is not None
    assert interval.low is not None
    assert interval.high is not None
    return interval.value, interval.low, interval.high


def test_draws_that_are_symmetric_give_their_percentiles() -> None:
    draws = np.arange(-200.0, 201.0)
    found = _found(make_interval(np.append(7.0, draws)))
    assert found == pytest.approx((7.0, *np.quantile(draws, [0.025, 0.975])))
    wide = _found(make_interval(np.append(7.0, draws), 0.99))
    assert wide == pytest.approx((7.0, *np.quantile(draws, [0.005, 0.995])))


def test_skewed_draws_give_efrons_accelerated_percentiles() -> None:
    draws = np.random.default_rng(0).gamma(4.0, size=999)
    a = skew(draws) / 6
    assert a > 0.1
    assert acceleration(draws) == pytest.approx(a)
    for level in (0.5, 0.95, 0.999):
        z = ndtri([(1 - level) / 2, (1 + level) / 2])
        expected = np.quantile(draws, ndtr(z / (1 - a * z)))
        assert _found(make_interval(np.append(4.0, draws), level))[1:] == pytest.approx(expected)


def test_it_is_scipys_bca_interval_where_the_draws_are_centred() -> None:
    """For a mean, with as many draws below the value as above: Efron's correction of it is zero."""
    data = np.random.default_rng(1).exponential(size=60)
    rng = np.random.default_rng(2)
    reference = bootstrap((data,), np.mean, n_resamples=19_999, method="BCa", rng=rng)
    draws = reference.bootstrap_distribution
    value = float(np.median(draws))
    found = _found(make_interval(np.append(value, draws)))
    # scipy takes the acceleration from a jackknife, and corrects for a median off by 0.02 sd.
    percentiles = np.quantile(draws, [0.025, 0.975])
    expected = np.array(reference.confidence_interval)
    assert (expected > percentiles).all()
    assert np.abs(np.array(found[1:]) - expected).max() < 0.4 * np.abs(expected - percentiles).max()


def test_a_long_tail_moves_the_interval_into_it() -> None:
    draws = np.random.default_rng(3).exponential(size=2000)
    low, high = np.quantile(draws, [0.025, 0.975])
    up, down = make_interval(np.append(1.0, draws)), make_interval(np.append(-1.0, -draws))
    assert _found(up)[1] > low
    assert _found(up)[2] > high
    assert _found(down)[1:] == pytest.approx([-end for end in _found(up)[:0:-1]])


@given(draws=DRAWS, shift=st.integers(-9, 9), scale=st.integers(1, 9))
def test_a_change_of_units_changes_the_interval_with_it(
    draws: list[int], shift: int, scale: int
) -> None:
    values = _values(*draws, value=draws[0])
    expected = [scale * end + shift for end in _found(make_interval(values))]
    found = _found(make_interval(scale * values + shift))
    assert found == pytest.approx(expected, abs=1e-9)
    assert min(draws) - 1e-9 <= _found(make_interval(values))[1]
    assert _found(make_interval(values))[2] <= max(draws) + 1e-9


@given(draws=DRAWS)
def test_a_higher_level_is_never_narrower(draws: list[int]) -> None:
    values = _values(*draws)
    _, low, high = _found(make_interval(values, 0.9))
    _, lower, higher = _found(make_interval(values, 0.99))
    assert lower <= low + 1e-12
    assert high <= higher + 1e-12
    assert low <= high


def test_draws_that_all_agree_give_an_interval_without_width() -> None:
    assert make_interval(np.full(100, 0.1)) == Interval(0.1, 0.1, 0.1)
    assert acceleration(np.full(9, 0.25)) == 0.0


def test_one_far_draw_of_many_widens_no_further_than_to_itself() -> None:
    draws = np.append(np.full(999, 1.0), 0.2)
    assert acceleration(draws) < -1.0
    assert make_interval(np.append(1.0, draws)) == Interval(1.0, 0.2, 1.0)


def test_draws_without_a_value_are_left_out() -> None:
    draws = np.arange(-20.0, 21.0)
    gaps = np.insert(draws, [0, 20, 41], np.nan)
    assert make_interval(np.append(0.0, gaps)) == make_interval(np.append(0.0, draws))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (_values(), Interval(0.0, None, None)),
        (_values(1.0), Interval(0.0, None, None)),
        (_values(math.nan, math.nan, math.nan), Interval(0.0, None, None)),
        # 2 of 21 are less than a tenth, 2 of 20 are not.
        (_values(1.0, 1.0, *[math.nan] * 19), Interval(0.0, None, None)),
        (_values(1.0, 1.0, *[math.nan] * 18), Interval(0.0, 1.0, 1.0)),
        (_values(1.0, 2.0, value=math.nan), Interval(None, None, None)),
    ],
)
def test_too_few_draws_give_no_interval(values: NDArray[np.float64], expected: Interval) -> None:
    assert make_interval(values) == expected
    assert (two_sided_p(values) is None) == (expected.low is None)


def test_a_file_gets_value_low_and_high() -> None:
    assert Interval(0.5, None, 0.75).as_list() == [0.5, None, 0.75]


def test_p_of_symmetric_draws_is_the_doubled_share_beyond_zero() -> None:
    # 10 of 399 are at zero or below; one is added to them and to all.
    draws = np.concatenate([-np.arange(10.0), np.arange(1.0, 390.0)])
    a = skew(draws) / 6
    assert abs(a) < 0.02
    expected = 2 * ndtr(ndtri(11 / 400) / (1 + a * ndtri(11 / 400)))
    assert two_sided_p(np.append(190.0, draws)) == pytest.approx(expected)
    assert expected == pytest.approx(22 / 400, rel=0.1)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("shape", [9.0, 40.0, 1000.0])
def test_p_is_one_minus_the_level_whose_interval_just_reaches_zero(
    shape: float, sign: float
) -> None:
    draws = np.random.default_rng(5).gamma(shape, size=9999)
    for share in (0.005, 0.02, 0.2):
        for end in (share, 1 - share):
            moved = sign * (draws - np.quantile(draws, end))
            values = np.append(np.median(moved), moved)
            p = two_sided_p(values)
            assert p is not None
            # One draw in 10,000 is added, which for the rarest share is a fiftieth of it.
            _, low, high = _found(make_interval(values, 1 - 1.1 * p))
            assert not low <= 0 <= high
            _, low, high = _found(make_interval(values, 1 - 0.9 * p))
            assert low <= 0 <= high


def test_p_is_never_below_what_so_many_draws_can_tell_and_never_above_one() -> None:
    away = np.append(5.0, np.linspace(4.0, 6.0, 99))
    assert two_sided_p(away) == pytest.approx(2 / 100)
    assert two_sided_p(-away) == pytest.approx(2 / 100)
    far = np.append(np.full(99, 1.0), 50.0)
    assert two_sided_p(np.append(1.0, far)) == 2 / 101
    assert two_sided_p(np.zeros(100)) == 1.0
