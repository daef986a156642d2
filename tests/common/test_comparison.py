"""Two models compared over groups, by hand and with scikit-learn."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score

from common.metrics import make_interval, measure
from common.metrics.comparison import Difference, compare
from common.metrics.interval import Interval, two_sided_p
from tests.common.metric_cases import CLASSES, MALIGNANT, make_case

Draws = NDArray[np.float64]


def _draws(centre: float, seed: int, size: int = 400) -> Draws:
    """Give draws of a difference that lies at its centre."""
    return np.append(centre, np.random.default_rng(seed).normal(centre, 1.0, size))


def _compare(**differences: Draws) -> dict[str, Difference]:
    zeros = {name: np.zeros_like(values) for name, values in differences.items()}
    return compare(differences, zeros)


def test_the_difference_is_of_the_same_resamples_of_the_same_images() -> None:
    case = make_case(9, images=200, draws=60)
    other = np.where(np.arange(200) % 5 == 0, case.y, case.predicted)
    a, b = (
        measure(case.y, told, case.probabilities, CLASSES, MALIGNANT, case.weights).values()
        for told in (case.predicted, other)
    )
    found = compare({"all": a["balanced_accuracy"]}, {"all": b["balanced_accuracy"]})["all"]
    # Directly, with scikit-learn a resample at a time.
    by_hand = np.array(
        [
            balanced_accuracy_score(case.y, case.predicted, sample_weight=row)
            - balanced_accuracy_score(case.y, other, sample_weight=row)
            for row in case.weights
        ]
    )
    expected = make_interval(by_hand).as_list()
    assert found.difference.as_list() == pytest.approx(expected)
    assert found.difference.value == pytest.approx(by_hand[0])
    # What both models share cancels: the interval is narrower than of independent resamples.
    shuffled = np.append(b["balanced_accuracy"][:1], np.roll(b["balanced_accuracy"][1:], 7))
    apart = compare({"all": a["balanced_accuracy"]}, {"all": shuffled})["all"].difference
    assert _width(found.difference) < 0.8 * _width(apart)


def _width(interval: Interval) -> float:
    assert interval.low is not None
    assert interval.high is not None
    return interval.high - interval.low


def test_a_model_does_not_differ_from_itself() -> None:
    values = {"a": _draws(0.7, 0), "b": _draws(0.5, 1)}
    for one in compare(values, values).values():
        assert one.difference == one.simultaneous == Interval(0.0, 0.0, 0.0)
        assert (one.p, one.p_corrected, one.decided) == (1.0, 1.0, False)


def test_holm_by_hand() -> None:
    """Smallest p times 4, next times 3, and so on; never smaller than one before, never above 1."""
    differences = {
        "a": _draws(2.4, 1),
        "b": _draws(-3.2, 2),
        "c": _draws(0.1, 3),
        "d": _draws(2.2, 4),
    }
    p = {name: two_sided_p(values) for name, values in differences.items()}
    b, first, second, c = sorted(value for value in p.values() if value is not None)
    assert (p["b"], p["c"]) == (b, c)
    expected = [4 * b, max(4 * b, 3 * first), max(4 * b, 3 * first, 2 * second)]
    ordered = sorted(("a", "d"), key=lambda name: p[name] or 0.0)
    found = _compare(**differences)
    assert [found[name].p_corrected for name in ("b", *ordered)] == pytest.approx(expected)
    assert found["c"].p_corrected == pytest.approx(max(expected[-1], c))
    assert {name: one.p for name, one in found.items()} == p


@settings(max_examples=50)
@given(centres=st.lists(st.floats(-4, 4), min_size=1, max_size=4))
def test_a_corrected_p_follows_the_definition_in_any_order_of_groups(
    centres: list[float],
) -> None:
    differences = {str(i): _draws(centre, i, 60) for i, centre in enumerate(centres)}
    found = _compare(**differences)
    p = {name: one.p or 0.0 for name, one in found.items()}
    for name, one in found.items():
        # Holm's adjusted p: the largest over p no greater of (number of p no smaller) times p.
        expected = max(
            min(1.0, sum(other >= smaller for other in p.values()) * smaller)
            for smaller in p.values()
            if smaller <= p[name]
        )
        assert one.p_corrected == pytest.approx(expected)
        assert one.p_corrected is not None
        assert one.p_corrected >= p[name]
    for order in permutations(differences):
        again = _compare(**{name: differences[name] for name in order})
        assert again == found


def test_one_group_needs_no_correction() -> None:
    one = _compare(all=_draws(2.0, 5))["all"]
    assert one.p == one.p_corrected
    assert one.difference == one.simultaneous


def test_intervals_of_several_groups_hold_together() -> None:
    differences = {"a": _draws(2.0, 6), "b": _draws(0.0, 7), "c": _draws(1.0, 8)}
    for name, one in _compare(**differences).items():
        assert one.difference == make_interval(differences[name], 0.95)
        assert one.simultaneous == make_interval(differences[name], 1 - 0.05 / 3)
        assert _width(one.simultaneous) > _width(one.difference)


def test_only_a_corrected_p_decides() -> None:
    # About 0.02: decided alone, not beside two others.
    values = _draws(2.35, 9, 4000)
    alone = _compare(a=values)["a"]
    beside = _compare(a=values, b=_draws(0.1, 10), c=_draws(0.2, 11))["a"]
    assert alone.decided
    assert alone.p == beside.p
    assert not beside.decided


def test_groups_that_one_model_lacks_are_not_compared() -> None:
    assert set(compare({"a": _draws(0, 0), "b": _draws(0, 1)}, {"b": _draws(0, 2)})) == {"b"}


def test_a_group_without_a_value_has_no_difference_and_counts_for_no_correction() -> None:
    values = _draws(2.0, 12)
    found = _compare(a=values, empty=np.full(401, np.nan))
    assert found["empty"] == Difference(
        Interval(None, None, None), Interval(None, None, None), None, None
    )
    assert not found["empty"].decided
    assert found["a"] == _compare(a=values)["a"]


def test_without_draws_there_is_a_difference_and_nothing_is_decided() -> None:
    one = compare({"a": np.array([0.75])}, {"a": np.array([0.5])})["a"]
    assert one == Difference(Interval(0.25, None, None), Interval(0.25, None, None), None, None)
    assert not one.decided


def test_resamples_in_which_one_model_has_no_value_are_left_out_of_the_difference() -> None:
    a, b = _draws(1.0, 13), np.zeros(401)
    some = a.copy()
    some[1:51] = np.nan
    found = compare({"g": some}, {"g": b})["g"].difference
    assert found == make_interval(np.append(a[0], a[51:]))
