"""Each kind of partition has its own property: by site, iid, by classes, by quantity."""

from __future__ import annotations

from collections import Counter
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency

from common.cohort import load_cohort
from common.errors import PartitionError
from common.partition import make_partition
from tests.common.partition_cases import lesions_by_site, made_up


def test_by_site_each_site_has_its_own_images() -> None:
    cohort = made_up([0, 1, 2, 0], [1, 1, 2, 3], ["b", "a", "b", "a"])
    partition = make_partition("site", cohort, 0)
    assert partition.names == ("a", "b")
    assert [rows.tolist() for rows in partition.rows] == [[1, 3], [0, 2]]


def test_by_site_needs_known_sites() -> None:
    with pytest.raises(PartitionError, match="sites are unknown.*--partition iid:N, .*classes:K:N"):
        make_partition("site", made_up([0], [0]), 0)


def test_iid_sites_have_equally_many_lesions() -> None:
    partition = make_partition("iid:4", made_up([0] * 42, list(range(42))), 0)
    assert sorted(len(rows) for rows in partition.rows) == [10, 10, 11, 11]


def _class_shares(alpha: str) -> np.ndarray:
    """Largest share of each class that one site holds, over many draws."""
    cohort = made_up([0, 1, 2] * 60, list(range(180)))
    found = []
    for seed in range(40):
        partition = make_partition(f"dirichlet:{alpha}:4", cohort, seed)
        counts = np.array([np.bincount(cohort.y[rows], minlength=3) for rows in partition.rows])
        found.append(counts.max(axis=0) / counts.sum(axis=0))
    return np.array(found)


def test_alpha_goes_from_one_class_a_site_to_even_shares() -> None:
    alphas = ("1e-100", "0.1", "1", "10", "1e100")
    shares = [_class_shares(alpha).mean() for alpha in alphas]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > 0.95
    # The expected largest of four uniform spacings: (1 + 1/2 + 1/3 + 1/4) / 4.
    assert abs(shares[2] - 25 / 48) < 0.05
    assert shares[4] < 0.27


def test_at_the_smallest_alpha_each_site_is_as_likely_to_hold_a_class() -> None:
    cohort = made_up([0, 1, 2] * 20, list(range(60)))
    drawn = [make_partition("dirichlet:1e-100:4", cohort, seed) for seed in range(60)]
    counts = np.array(
        [[np.bincount(cohort.y[rows], minlength=3) for rows in p.rows] for p in drawn]
    )
    holder = np.bincount(counts.argmax(axis=1).ravel(), minlength=4)
    # 180 classes over four sites: 45 a site, and a standard deviation of 5.8.
    assert (abs(holder - 45) < 20).all()


def test_a_site_that_draws_nothing_takes_one_lesion() -> None:
    partition = make_partition("dirichlet:1e-100:5", made_up([0] * 10, list(range(10))), 0)
    assert sorted(len(rows) for rows in partition.rows) == [1, 1, 1, 1, 6]


@pytest.mark.parametrize(
    ("sites", "lesions", "sizes"),
    # Three sites: 20 : 20^0.5 : 1, so that 100 lesions make 78.5, 17.6 and 3.9.
    [(1, 42, [42]), (2, 42, [40, 2]), (2, 21, [20, 1]), (3, 100, [80, 17, 3])],
)
def test_quantities_fall_exponentially_to_a_twentieth(
    sites: int, lesions: int, sizes: list[int]
) -> None:
    partition = make_partition(f"quantity:{sites}", made_up([0] * lesions, range(lesions)), 0)
    assert [len(rows) for rows in partition.rows] == sizes


def test_twenty_sites_of_falling_sizes_share_the_lesions_of_a_small_cohort() -> None:
    partition = make_partition("quantity:20", made_up([0] * 599, range(599)), 0)
    sizes = [len(rows) for rows in partition.rows]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 4


def _p_of_equal_shares(spec: str) -> float:
    """Give the p-value of equal shares of classes at all sites (a chi-squared test)."""
    y = np.random.default_rng(0).choice(3, size=2000, p=[0.2, 0.3, 0.5])
    cohort = made_up(y.tolist(), range(2000))
    partition = make_partition(spec, cohort, 0)
    counts = [np.bincount(y[rows], minlength=3) for rows in partition.rows]
    return float(chi2_contingency(counts).pvalue)


def test_shares_of_classes_are_the_cohorts_in_iid_and_quantity_and_not_in_the_others() -> None:
    assert _p_of_equal_shares("iid:6") > 0.01
    assert _p_of_equal_shares("quantity:6") > 0.01
    assert _p_of_equal_shares("dirichlet:1:6") < 1e-9
    assert _p_of_equal_shares("classes:2:6") < 1e-9


@settings(deadline=None, max_examples=80)
@given(
    classes=st.integers(1, 3),
    sites=st.integers(1, 8),
    more=st.integers(0, 9),
    seed=st.integers(0, 99),
)
def test_each_site_holds_lesions_of_k_classes_and_each_class_is_held(
    classes: int, sites: int, more: int, seed: int
) -> None:
    y = [0] * (8 + more) + [1] * 8 + [2] * (9 + 3 * more)
    cohort = made_up(y, range(len(y)))
    spec = f"classes:{classes}:{sites}"
    if classes * sites < 3:
        with pytest.raises(PartitionError, match="places cannot hold all 3 classes"):
            make_partition(spec, cohort, seed)
        return
    partition = make_partition(spec, cohort, seed)
    counts = np.array([np.bincount(cohort.y[rows], minlength=3) for rows in partition.rows])
    assert ((counts > 0).sum(axis=1) == classes).all()
    holders = (counts > 0).sum(axis=0)
    assert holders.min() >= 1
    assert np.ptp(holders) <= 1
    for of_class in counts.T:
        assert np.ptp(of_class[of_class > 0]) <= 1


def test_which_classes_a_site_holds_is_drawn() -> None:
    cohort = made_up([0, 1, 2] * 4, range(12))
    drawn = [make_partition("classes:1:3", cohort, seed) for seed in range(30)]
    assert {tuple(cohort.y[rows[0]] for rows in p.rows) for p in drawn} == set(
        permutations(range(3))
    )


def test_a_lesion_of_several_classes_counts_as_the_lowest() -> None:
    cohort = made_up([0, 1, 0, 1, 1], [1, 1, 2, 3, 4])
    lesions = lesions_by_site(make_partition("classes:1:2", cohort, 0), cohort)
    assert sorted(map(sorted, lesions)) == [["L001", "L002"], ["L003", "L004"]]


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        ("classes:3:2", "the cohort has 2 classes"),
        ("classes:1:1", "1 times 1 places cannot hold all 2 classes"),
        ("classes:2:3", "class nv has 2 lesions for up to 3 sites"),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_classes_that_the_cohort_cannot_give_are_refused(spec: str, text: str, seed: int) -> None:
    # No lesion is of class 1, so that there are two.
    with pytest.raises(PartitionError, match=f"partition {spec}: {text}"):
        make_partition(spec, made_up([0, 0, 0, 0, 2, 2], range(6)), seed)


def test_the_real_cohort_is_partitioned_by_its_sites(ham10000: Path) -> None:
    cohort = load_cohort(ham10000)
    partition = make_partition("site", cohort, 0)
    assert dict(zip(partition.names, map(len, partition.rows), strict=True)) == {
        "rosendahl": 2259,
        "vidir_molemax": 3954,
        "vidir_modern": 3363,
        "vienna_dias": 439,
    }
    # Nine of its lesions have images at two sites, and only there a lesion straddles.
    held = Counter(
        lesion for rows in partition.rows for lesion in set(cohort.lesion[rows].tolist())
    )
    assert Counter(held.values()) == {1: len(held) - 9, 2: 9}
