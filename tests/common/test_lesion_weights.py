"""The bootstrap's weights: Poisson counts that a key and a lesion's own id determine."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, poisson

from common.metrics import lesion_weights

LESIONS = st.lists(st.text(min_size=1, max_size=8).filter(lambda s: "\0" not in s), max_size=20)
KEY = b"key"


@given(lesions=LESIONS, data=st.data())
def test_neither_other_lesions_nor_their_order_change_a_lesions_counts(
    lesions: list[str], data: st.DataObject
) -> None:
    whole = lesion_weights(lesions, 5, KEY)
    of_lesion = dict(zip(lesions, whole.T.tolist(), strict=True))
    some = data.draw(st.permutations(lesions)) if lesions else []
    some = some[: len(some) // 2]
    assert lesion_weights(some, 5, KEY).T.tolist() == [of_lesion[name] for name in some]


def test_all_images_of_a_lesion_share_its_counts() -> None:
    weights = lesion_weights(["b", "a", "b", "c", "a"], 50, KEY)
    np.testing.assert_array_equal(weights[:, 0], weights[:, 2])
    np.testing.assert_array_equal(weights[:, 1], weights[:, 4])
    assert (weights[:, 0] != weights[:, 1]).any()
    assert (weights[:, 0] != weights[:, 3]).any()


def test_sites_that_share_the_key_resample_as_the_pooled_data() -> None:
    pooled = lesion_weights(["a", "b", "b", "c"], 9, KEY)
    apart = [lesion_weights(["a", "b"], 9, KEY), lesion_weights(["b", "c"], 9, KEY)]
    np.testing.assert_array_equal(np.hstack(apart), pooled)


def test_the_first_row_is_the_data() -> None:
    weights = lesion_weights([str(i) for i in range(100)], 3, KEY)
    assert weights.dtype == np.uint8
    assert weights.shape == (4, 100)
    assert (weights[0] == 1).all()
    assert (weights[1:] != 1).any(axis=1).all()


@pytest.mark.parametrize(("lesions", "draws"), [(0, 3), (2, 0), (0, 0)])
def test_nothing_to_draw_gives_nothing(lesions: int, draws: int) -> None:
    weights = lesion_weights([str(i) for i in range(lesions)], draws, KEY)
    assert weights.shape == (1 + draws, lesions)
    assert (weights[:1] == 1).all()


def test_more_draws_begin_with_the_same_ones() -> None:
    few, many = (lesion_weights(["a", "b"], draws, KEY) for draws in (4, 9))
    np.testing.assert_array_equal(many[:5], few)


def test_another_key_gives_other_counts_even_where_key_and_id_join_to_the_same() -> None:
    lesions = [str(i) for i in range(50)]
    assert (lesion_weights(lesions, 20, b"one") != lesion_weights(lesions, 20, b"two")).any()
    # b"k" + "ey" and b"ke" + "y" are the same bytes in a row.
    a, b = lesion_weights(["ey"], 40, b"k"), lesion_weights(["y"], 40, b"ke")
    assert (a != b).any()


def test_counts_are_the_quantiles_of_poissons_law_of_the_hash() -> None:
    """From hashlib and scipy, draw by draw; a change would change every interval."""
    digest = hashlib.shake_128(b"\0\0\0\3key" + "HAM_ä".encode()).digest(4 * 200)
    uniform = [int.from_bytes(digest[i : i + 4], "big") / 2**32 for i in range(0, 800, 4)]
    expected = [1, *(0 if u < math.exp(-1) else int(poisson.ppf(u, 1)) for u in uniform)]
    assert lesion_weights(["HAM_ä"], 200, KEY)[:, 0].tolist() == expected


def test_counts_follow_poissons_law_with_mean_and_variance_one() -> None:
    counts = lesion_weights([str(i) for i in range(2000)], 200, KEY)[1:]
    n = counts.size
    # Standard errors: of the mean sqrt(1 / n), of the variance sqrt((mu4 - 1) / n), mu4 = 4.
    assert abs(counts.mean() - 1.0) < 4 / math.sqrt(n)
    assert abs(counts.var() - 1.0) < 4 * math.sqrt(3 / n)
    expected = n * np.append(poisson.pmf(np.arange(7), 1.0), poisson.sf(6, 1.0))
    found = np.bincount(np.minimum(counts, 7).ravel(), minlength=8)
    statistic = float((np.square(found - expected) / expected).sum())
    assert statistic < chi2.ppf(0.9999, 7)


def test_counts_of_two_lesions_and_of_two_draws_are_independent() -> None:
    counts = lesion_weights([str(i) for i in range(600)], 600, KEY)[1:].astype(float) - 1.0
    # Each product has mean 0 and variance 1.
    for moved in (np.roll(counts, 1, axis=0), np.roll(counts, 1, axis=1)):
        assert abs((counts * moved).mean()) < 4 / math.sqrt(counts.size)
