"""At a guarded site, metadata part off no fewer images than its minimum."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from common.metadata import encode
from common.metadata.encoding import VARIABLES
from common.metadata.hiding import HIDDEN, encode_shown, hide_rare

MISSING = [variable.missing for variable in VARIABLES.values()]


@st.composite
def cohorts(draw: st.DrawFn) -> tuple[Any, Any, int]:
    n = draw(st.integers(0, 60))
    most = draw(st.integers(0, 3))
    columns = [
        draw(arrays(np.intp, n, elements=st.sampled_from([*range(most + 1), missing])))
        for missing in MISSING
    ]
    cell = draw(arrays(np.intp, n, elements=st.integers(0, 2)))
    return np.stack(columns, axis=1), cell, draw(st.integers(1, 9))


@given(cohorts())
def test_every_combination_is_shared_by_the_minimum_or_all_are_hidden(
    drawn: tuple[Any, Any, int],
) -> None:
    codes, cell, minimum = drawn
    shown = hide_rare(codes, [cell], minimum)
    for one in np.unique(cell):
        found = Counter(map(tuple, shown[cell == one].tolist()))
        if (cell == one).sum() < minimum:
            assert set(found) == {(HIDDEN,) * 3}
        else:
            assert min(found.values()) >= minimum
    # A value stays what it is, or is hidden.
    assert ((shown == codes) | (shown == HIDDEN)).all()


def test_nothing_is_hidden_that_enough_images_share() -> None:
    codes = np.repeat([[5, 0, 2], [5, 1, 2], [6, 0, 15], [9, 3, 15]], 5, axis=0)
    np.testing.assert_array_equal(hide_rare(codes, [np.zeros(20)], 5), codes)
    np.testing.assert_array_equal(hide_rare(codes, [], 1), codes)


def test_the_fewest_go_first_and_take_others_with_them_until_they_are_enough() -> None:
    # Of one sex and place; three ages of 2, 6 and 9 images: the 2 alone would be too few.
    codes = np.array([[1, 0, 0]] * 2 + [[2, 0, 0]] * 6 + [[3, 0, 0]] * 9)
    shown = hide_rare(codes, [np.zeros(17)], 5)
    assert shown[:, 0].tolist() == [HIDDEN] * 8 + [3] * 9
    # One class's images hide no other's.
    apart = hide_rare(codes, [np.array(["mel"] * 2 + ["nv"] * 15)], 5)
    assert apart[:, 0].tolist() == [HIDDEN] * 2 + [2] * 6 + [3] * 9


def test_a_hidden_value_becomes_the_mean_of_those_that_are_shown() -> None:
    codes = np.array([[1, 0, 2], [HIDDEN, 0, 2], [3, HIDDEN, 2], [3, 1, 2]])
    found = encode_shown(codes, ("age", "sex"))
    plain = encode(np.maximum(codes, 0), ("age", "sex"))
    # Ages of the 10s, 30s and 30s; one woman, as code 0, twice and a man.
    assert found[1, 0] == np.float32((0.15 + 0.35 + 0.35) / 3)
    np.testing.assert_allclose(found[2, 5:], [2 / 3, 1 / 3, 0.0, 0.0], rtol=1e-6)
    shown = [[True, True], [False, True], [True, False], [True, True]]
    for row, (age, sex) in enumerate(shown):
        if age:
            np.testing.assert_array_equal(found[row, :5], plain[row, :5])
        if sex:
            np.testing.assert_array_equal(found[row, 5:], plain[row, 5:])
    everything = np.full((3, 3), HIDDEN)
    assert not encode_shown(everything, tuple(VARIABLES)).any()
    assert encode_shown(codes[:0], ("age",)).shape == (0, 5)
