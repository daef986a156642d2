"""Partitions: every image once, lesions whole, and the same sites wherever they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from common.cohort import Cohort, load_cohort
from common.errors import PartitionError
from common.partition import Partition, make_partition, parse_partition

CLASSES = ("bcc", "mel", "nv")


def _cohort(y: Sequence[int], group: Sequence[int], site: Sequence[str] | None = None) -> Cohort:
    n = len(y)
    groups = np.array([f"L{number:03d}" for number in group], dtype=np.str_)
    text = np.array(["unknown"] * n, dtype=np.str_)
    return Cohort(
        name="made up",
        root=Path("made-up"),
        classes=CLASSES,
        malignant=(),
        image_id=np.array([f"I{i:03d}" for i in range(n)]),
        path=(Path(),) * n,
        mask=(None,) * n,
        y=np.array(y, dtype=np.intp),
        site=text if site is None else np.array(site),
        lesion=groups,
        group=groups,
        age=np.full(n, np.nan),
        sex=text,
        localisation=text,
        label_source=text,
        sites_known=site is not None,
        lesions_known=True,
    )


def _reordered(cohort: Cohort, order: Sequence[int]) -> Cohort:
    rows = list(order)
    fields: dict[str, Any] = {
        name: value[rows] if isinstance(value, np.ndarray) else value
        for name, value in vars(cohort).items()
    }
    return Cohort(**fields)


def _ids(partition: Partition, cohort: Cohort) -> dict[str, set[str]]:
    rows = zip(partition.names, partition.rows, strict=True)
    return {name: set(cohort.image_id[row].tolist()) for name, row in rows}


@st.composite
def cohorts(draw: st.DrawFn) -> Cohort:
    n = draw(st.integers(1, 40))
    lists = [
        draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)),
        draw(st.lists(st.integers(0, 30), min_size=n, max_size=n)),
    ]
    site = draw(st.lists(st.sampled_from(["x", "y", "z"]), min_size=n, max_size=n))
    return _cohort(lists[0], lists[1], site)


SPECS = st.one_of(
    st.integers(1, 8).map(lambda sites: f"iid:{sites}"),
    st.tuples(st.sampled_from(["0.001", "0.1", "1", "100", "1e9"]), st.integers(1, 8)).map(
        lambda drawn: f"dirichlet:{drawn[0]}:{drawn[1]}"
    ),
    st.just("site"),
)


@settings(deadline=None, max_examples=150)
@given(cohort=cohorts(), spec=SPECS, seed=st.integers(0, 2**31), data=st.data())
def test_any_partition_is_sound(cohort: Cohort, spec: str, seed: int, data: st.DataObject) -> None:
    drawn = parse_partition(spec)
    assume(drawn is None or drawn[0] <= len(set(cohort.group.tolist())))
    partition = make_partition(spec, cohort, seed)

    assert len(partition.names) == len(partition.rows) == len(set(partition.names))
    assert list(partition.names) == sorted(partition.names)
    assert drawn is None or len(partition.names) == drawn[0]
    # Every image exactly once, in ascending order, and no site without images.
    assert sorted(np.concatenate(partition.rows).tolist()) == list(range(len(cohort)))
    for rows in partition.rows:
        assert len(rows)
        assert (np.diff(rows) > 0).all()
    if drawn is not None:
        sites = [set(cohort.group[rows].tolist()) for rows in partition.rows]
        assert sum(map(len, sites)) == len(set(cohort.group.tolist())), "a lesion straddles"

    assert _ids(make_partition(spec, cohort, seed), cohort) == _ids(partition, cohort)
    other = _reordered(cohort, data.draw(st.permutations(range(len(cohort)))))
    assert _ids(make_partition(spec, other, seed), other) == _ids(partition, cohort)


def test_by_site_each_site_has_its_own_images() -> None:
    cohort = _cohort([0, 1, 2, 0], [1, 1, 2, 3], ["b", "a", "b", "a"])
    partition = make_partition("site", cohort, 0)
    assert partition.names == ("a", "b")
    assert [rows.tolist() for rows in partition.rows] == [[1, 3], [0, 2]]


def test_by_site_needs_known_sites() -> None:
    with pytest.raises(PartitionError, match="sites are unknown"):
        make_partition("site", _cohort([0], [0]), 0)


def test_iid_sites_have_equally_many_lesions() -> None:
    partition = make_partition("iid:4", _cohort([0] * 42, list(range(42))), 0)
    assert sorted(len(rows) for rows in partition.rows) == [10, 10, 11, 11]


def test_seeds_differ() -> None:
    cohort = _cohort([0, 1] * 20, list(range(40)))
    for spec in ("iid:3", "dirichlet:1:3"):
        drawn = [_ids(make_partition(spec, cohort, seed), cohort) for seed in (0, 1)]
        assert drawn[0] != drawn[1]


def _class_shares(alpha: str) -> np.ndarray:
    """Largest share of each class that one site holds, over many draws."""
    cohort = _cohort([0, 1, 2] * 60, list(range(180)))
    found = []
    for seed in range(40):
        partition = make_partition(f"dirichlet:{alpha}:4", cohort, seed)
        counts = np.array([np.bincount(cohort.y[rows], minlength=3) for rows in partition.rows])
        found.append(counts.max(axis=0) / counts.sum(axis=0))
    return np.array(found)


def test_alpha_goes_from_one_class_a_site_to_even_shares() -> None:
    small, one, large = (_class_shares(alpha).mean() for alpha in ("0.001", "1", "1e6"))
    assert small > 0.95
    # The expected largest of four uniform spacings: (1 + 1/2 + 1/3 + 1/4) / 4.
    assert abs(one - 25 / 48) < 0.05
    assert abs(large - 0.25) < 0.01


def test_names_sort_as_their_numbers() -> None:
    names = make_partition("iid:11", _cohort([0] * 11, list(range(11))), 0).names
    assert names[:2] == ("site-00", "site-01")
    assert names[10] == "site-10"


def test_more_sites_than_lesions_are_refused() -> None:
    with pytest.raises(PartitionError, match="3 sites cannot share 2 lesions"):
        make_partition("iid:3", _cohort([0, 0, 0], [0, 1, 1]), 0)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [("site", None), ("iid:5", (5, None)), ("dirichlet:0.5:3", (3, 0.5))],
)
def test_a_partition_is_read(spec: str, expected: object) -> None:
    assert parse_partition(spec) == expected


@pytest.mark.parametrize(
    "spec",
    [
        *("", "sites", "site:", "site:3", "iid", "iid:", "iid:x", "iid:0", "iid:-1", "iid:2.5"),
        *("iid:3:3", "dirichlet", "dirichlet:3", "dirichlet:0:3", "dirichlet:-1:3"),
        *("dirichlet:nan:3", "dirichlet:inf:3", "dirichlet:x:3", "dirichlet:1:0", "IID:3"),
        "iid:" + "9" * 5000,
    ],
)
def test_a_partition_that_there_is_not_is_refused(spec: str) -> None:
    with pytest.raises(PartitionError, match="partition "):
        parse_partition(spec)


def test_the_real_cohort_is_partitioned_by_its_sites(ham10000: Path) -> None:
    cohort = load_cohort(ham10000)
    partition = make_partition("site", cohort, 0)
    assert dict(zip(partition.names, map(len, partition.rows), strict=True)) == {
        "rosendahl": 2259,
        "vidir_molemax": 3954,
        "vidir_modern": 3363,
        "vienna_dias": 439,
    }
