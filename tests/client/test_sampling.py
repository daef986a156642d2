"""Sampling is balanced against the counts of all sites, not of one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import chisquare
from sklearn.utils.class_weight import compute_class_weight

from client.training.sampling import draw_batches, shuffled_batches
from common.errors import CohortError
from common.finetuning.balance import class_weights, site_share

counts_of_classes = (
    st.lists(st.integers(0, 7000), min_size=1, max_size=9)
    .filter(any)
    .map(lambda counts: np.array(counts, dtype=np.int64))
)
powers = st.floats(0.0, 2.0)


def site_tables(sites: int = 4, classes: int = 5) -> st.SearchStrategy[NDArray[np.int64]]:
    row = st.lists(st.integers(0, 3000), min_size=classes, max_size=classes)
    table = st.lists(row, min_size=sites, max_size=sites).map(np.array)
    return table.filter(lambda counts: bool(counts.any()))


@given(counts_of_classes, powers)
def test_images_weigh_one_on_average_and_classes_by_a_power_of_their_count(
    counts: NDArray[np.int64], power: float
) -> None:
    weights = class_weights(counts, power)
    assert weights.dtype == np.float64
    assert counts @ weights == pytest.approx(counts.sum())
    assert (weights[counts == 0] == 0.0).all()
    present = counts > 0
    first = int(np.argmax(present))
    ratio = (counts[present] / counts[first]) ** -power
    assert weights[present] / weights[first] == pytest.approx(ratio)


def test_power_one_is_scikit_learns_balanced_weight_and_power_zero_weighs_alike() -> None:
    y = np.repeat(np.arange(4), [50, 3, 12, 1])
    counts = np.bincount(y)
    balanced = compute_class_weight("balanced", classes=np.arange(4), y=y)
    assert class_weights(counts, 1.0) == pytest.approx(balanced)
    assert class_weights(counts, 0.0) == pytest.approx(np.ones(4))


def test_a_large_power_does_not_overflow() -> None:
    assert class_weights(np.array([6000, 10]), 400.0) == pytest.approx([0.0, 601.0])


@pytest.mark.parametrize("counts", [[0, 0, 0], [5, -1, 2]])
def test_counts_without_an_image_or_below_zero_are_refused(counts: list[int]) -> None:
    with pytest.raises(CohortError, match=r"class counts \["):
        class_weights(np.array(counts), 0.5)


@given(site_tables(), powers)
def test_the_shares_of_all_sites_sum_to_one(table: NDArray[np.int64], power: float) -> None:
    counts = table.sum(axis=0)
    shares = [site_share(row, counts, power) for row in table]
    assert sum(shares) == pytest.approx(1.0)
    assert min(shares) >= 0.0


def test_a_sites_share_is_that_of_its_images_among_those_sampled() -> None:
    site, counts = np.array([90, 10]), np.array([900, 20])
    assert site_share(site, counts, 0.0) == pytest.approx(100 / 920)
    # Each class is drawn alike: a tenth of one, half of the other.
    assert site_share(site, counts, 1.0) == pytest.approx((0.1 + 0.5) / 2)


def test_a_site_that_was_not_counted_has_no_share() -> None:
    with pytest.raises(CohortError, match="among those that were counted"):
        site_share(np.array([3, 1]), np.array([9, 0]), 0.5)


def test_images_are_drawn_in_proportion_to_the_weight_of_their_class() -> None:
    rng = np.random.default_rng(0)
    y = rng.permutation(np.repeat(np.arange(3), [60, 25, 5]))
    weights = np.array([1.0, 2.0, 8.0])
    drawn = draw_batches(y, weights, steps=900, batch=10, rng=rng)
    assert drawn.shape == (900, 10)
    assert drawn.dtype == np.intp
    expected = weights[y] / weights[y].sum() * drawn.size
    assert chisquare(np.bincount(drawn.ravel(), minlength=len(y)), expected).pvalue > 1e-3


def test_sites_that_draw_their_shares_draw_the_classes_of_the_pooled_images() -> None:
    table = np.array([[300, 0, 10], [40, 60, 0], [1, 0, 30]])
    counts = table.sum(axis=0)
    weights = class_weights(counts, 0.75)
    rng = np.random.default_rng(1)
    drawn = np.zeros(3)
    for row in table:
        y = np.repeat(np.arange(3), row)
        batch = round(site_share(row, counts, 0.75) * 1000)
        rows = draw_batches(y, weights, steps=40, batch=batch, rng=rng)
        drawn += np.bincount(y[rows.ravel()], minlength=3)
    pooled = counts**0.25 / (counts**0.25).sum()
    assert drawn / drawn.sum() == pytest.approx(pooled, abs=0.01)


def test_batches_are_those_of_the_generator() -> None:
    y, weights = np.array([0, 1, 1, 0]), np.array([1.0, 3.0])
    one, same, other = (
        draw_batches(y, weights, steps=6, batch=3, rng=np.random.default_rng(seed))
        for seed in (4, 4, 5)
    )
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("y", [[], [1, 1]])
def test_a_site_without_an_image_to_draw_is_told_so(y: list[int]) -> None:
    with pytest.raises(CohortError, match=f"none of the site's {len(y)} training image"):
        draw_batches(
            np.array(y, dtype=np.intp),
            np.array([1.0, 0.0]),
            steps=1,
            batch=1,
            rng=np.random.default_rng(0),
        )


@given(st.integers(1, 40), st.integers(0, 12), st.integers(1, 12), st.integers(0, 2**32))
def test_every_image_comes_once_an_epoch(n: int, steps: int, batch: int, seed: int) -> None:
    batches = shuffled_batches(n, steps=steps, batch=batch, rng=np.random.default_rng(seed))
    assert batches.shape == (steps, batch)
    assert batches.dtype == np.intp
    order = batches.ravel()
    for start in range(0, len(order), n):
        epoch = order[start : start + n]
        assert len(set(epoch.tolist())) == len(epoch)
        assert 0 <= epoch.min() <= epoch.max() < n


def test_each_epoch_has_an_order_of_its_own() -> None:
    first, second = shuffled_batches(50, steps=2, batch=50, rng=np.random.default_rng(0))
    assert not np.array_equal(first, np.arange(50))
    assert not np.array_equal(first, second)


def test_nothing_to_shuffle_is_an_error() -> None:
    with pytest.raises(CohortError, match="no training image to shuffle"):
        shuffled_batches(0, steps=1, batch=1, rng=np.random.default_rng(0))
