"""What tests of partitions share: cohorts of no images, and which lesions a site holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from common.cohort import Cohort
from common.partition import Partition

CLASSES = ("bcc", "mel", "nv")


def made_up(y: Sequence[int], group: Sequence[int], site: Sequence[str] | None = None) -> Cohort:
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


def reordered(cohort: Cohort, order: Sequence[int]) -> Cohort:
    rows = list(order)
    fields: dict[str, Any] = {
        name: value[rows] if isinstance(value, np.ndarray) else value
        for name, value in vars(cohort).items()
    }
    return Cohort(**fields)


def ids_by_site(partition: Partition, cohort: Cohort) -> dict[str, set[str]]:
    rows = zip(partition.names, partition.rows, strict=True)
    return {name: set(cohort.image_id[row].tolist()) for name, row in rows}


def lesions_by_site(partition: Partition, cohort: Cohort) -> list[set[str]]:
    return [set(cohort.group[rows].tolist()) for rows in partition.rows]


@st.composite
def cohorts(draw: st.DrawFn) -> Cohort:
    n = draw(st.integers(1, 40))
    lists = [
        draw(st.lists(st.integers(0, 2), min_size=n, max_size=n)),
        draw(st.lists(st.integers(0, 30), min_size=n, max_size=n)),
    ]
    site = draw(st.lists(st.sampled_from(["x", "y", "z"]), min_size=n, max_size=n))
    return made_up(lists[0], lists[1], site)
