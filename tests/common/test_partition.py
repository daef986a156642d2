"""Partitions: every image once, lesions whole, and the same sites wherever they are drawn."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.cohort import Cohort, load_cohort
from common.errors import PartitionError
from common.partition import PartitionSpec, make_partition, parse_partition
from tests.common.partition_cases import (
    cohorts,
    ids_by_site,
    lesions_by_site,
    made_up,
    reordered,
)

ALPHAS = st.sampled_from(["1e-100", "0.001", "0.1", "1", "100", "1e9", "1e100"])
SITES = st.integers(1, 8)
SPECS = st.one_of(
    st.just("site"),
    st.builds("iid:{}".format, SITES),
    st.builds("dirichlet:{}:{}".format, ALPHAS, SITES),
    st.builds("quantity:{}".format, SITES),
    st.builds("classes:{}:{}".format, st.integers(1, 3), SITES),
)


def _labels(cohort: Cohort) -> dict[str, int]:
    """Each lesion's class, the lowest of several."""
    label: dict[str, int] = {}
    for group, y in zip(cohort.group.tolist(), cohort.y.tolist(), strict=True):
        label[group] = min(y, label.get(group, y))
    return label


def _can_be_made(spec: PartitionSpec, cohort: Cohort) -> bool:
    label = _labels(cohort)
    if spec.kind == "quantity":
        steps = max(spec.sites - 1, 1)
        return len(label) >= sum(20 ** (i / steps) for i in range(spec.sites))
    if spec.kind == "classes":
        held, counts = spec.classes * spec.sites, Counter(label.values())
        of_a_class = -(-held // len(counts))
        return spec.classes <= len(counts) <= held and min(counts.values()) >= of_a_class
    return spec.sites <= len(label)


@settings(deadline=None, max_examples=200)
@given(cohort=cohorts(), spec=SPECS, seed=st.integers(0, 2**31), data=st.data())
def test_any_partition_is_sound(cohort: Cohort, spec: str, seed: int, data: st.DataObject) -> None:
    drawn = parse_partition(spec)
    if not _can_be_made(drawn, cohort):
        with pytest.raises(PartitionError, match=f"^partition {spec}: .*; give "):
            make_partition(spec, cohort, seed)
        return
    partition = make_partition(spec, cohort, seed)

    assert len(partition.names) == len(partition.rows) == len(set(partition.names))
    assert list(partition.names) == sorted(partition.names)
    assert drawn.kind == "site" or len(partition.names) == drawn.sites
    # Every image exactly once, in ascending order, and no site without images.
    assert sorted(np.concatenate(partition.rows).tolist()) == list(range(len(cohort)))
    for rows in partition.rows:
        assert rows.dtype == np.intp
        assert len(rows)
        assert (np.diff(rows) > 0).all()
    if drawn.kind != "site":
        held = sum(map(len, lesions_by_site(partition, cohort)))
        assert held == len(set(cohort.group.tolist())), "a lesion straddles"

    assert ids_by_site(make_partition(spec, cohort, seed), cohort) == ids_by_site(partition, cohort)
    other = reordered(cohort, data.draw(st.permutations(range(len(cohort)))))
    assert ids_by_site(make_partition(spec, other, seed), other) == ids_by_site(partition, cohort)


@pytest.mark.parametrize(
    "spec", ["iid:3", "dirichlet:1:3", "dirichlet:1e100:3", "quantity:3", "classes:2:3"]
)
def test_seeds_differ(spec: str) -> None:
    cohort = made_up([0, 1, 2] * 20, list(range(60)))
    drawn = [ids_by_site(make_partition(spec, cohort, seed), cohort) for seed in (0, 1)]
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize("spec", ["iid:2", "dirichlet:1e100:2", "quantity:2", "classes:3:2"])
def test_sites_are_no_runs_of_lesion_ids(spec: str) -> None:
    # Ids of lesions tell of their acquisition site, so that a cut by id would be no draw.
    partition = make_partition(spec, made_up([0] * 90 + [1] * 90 + [2] * 90, range(270)), 0)
    for rows in partition.rows:
        assert (np.diff(rows) > 1).sum() > 3


def test_names_sort_as_their_numbers() -> None:
    names = make_partition("iid:11", made_up([0] * 11, list(range(11))), 0).names
    assert names[:2] == ("site-00", "site-01")
    assert names[10] == "site-10"


@pytest.mark.parametrize("kind", ["iid", "dirichlet:1", "quantity", "classes:1"])
def test_more_sites_than_lesions_are_refused(kind: str) -> None:
    with pytest.raises(PartitionError, match="3 sites cannot share 2 lesions"):
        make_partition(f"{kind}:3", made_up([0, 0, 0], [0, 1, 1]), 0)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("site", PartitionSpec("site", "site")),
        ("iid:5", PartitionSpec("iid:5", "iid", sites=5)),
        ("dirichlet:0.5:3", PartitionSpec("dirichlet:0.5:3", "dirichlet", sites=3, alpha=0.5)),
        ("quantity:4", PartitionSpec("quantity:4", "quantity", sites=4)),
        ("classes:2:9", PartitionSpec("classes:2:9", "classes", sites=9, classes=2)),
    ],
)
def test_a_partition_is_read(spec: str, expected: PartitionSpec) -> None:
    assert parse_partition(spec) == expected


@pytest.mark.parametrize(
    "spec",
    [
        *("", "sites", "site:", "site:3", "iid", "iid:", "iid:x", "iid:0", "iid:-1", "iid:2.5"),
        *("iid:3:3", "dirichlet", "dirichlet:3", "dirichlet:0:3", "dirichlet:-1:3"),
        *("dirichlet:nan:3", "dirichlet:inf:3", "dirichlet:x:3", "dirichlet:1:0", "IID:3"),
        *("dirichlet:1e-101:3", "dirichlet:1e101:3", "dirichlet:1e-400:3"),
        *("quantity", "quantity:", "quantity:0", "quantity:-1", "quantity:2.5", "quantity:2:2"),
        *("classes", "classes:2", "classes:0:3", "classes:-1:3", "classes:2:0", "classes:1.5:3"),
        "iid:" + "9" * 5000,
    ],
)
def test_a_partition_that_there_is_not_is_refused(spec: str) -> None:
    with pytest.raises(PartitionError, match="partition "):
        parse_partition(spec)


@pytest.mark.parametrize(
    "spec", ["iid:50", "dirichlet:0.1:100", "dirichlet:0.001:100", "quantity:50", "classes:2:20"]
)
def test_the_real_cohort_is_shared_out_whole(spec: str, ham10000: Path) -> None:
    cohort = load_cohort(ham10000)
    lesions = lesions_by_site(make_partition(spec, cohort, 1), cohort)
    assert min(map(len, lesions)) >= 1
    assert sum(map(len, lesions)) == len(set.union(*lesions)) == len(set(cohort.group.tolist()))
