"""The table of what would leave a site, against what leaves it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from client.deployment.leaving import statistics
from common import wire
from common.learners import LINEAR
from tests.client.deployed_site import TINY_BOUNDS, Deployed, federate, site_file

# NumPy's format 1.0 pads what stands before the values to a multiple of 64 bytes.
HEADER = 128


@pytest.mark.parametrize("learner", LINEAR)
def test_what_site_check_lists_is_what_leaves(
    write_cached_cohort: Callable[..., Path], tmp_path: Path, learner: str
) -> None:
    root = write_cached_cohort({"dias": 150, "rosendahl": 120})
    bounds = TINY_BOUNDS.model_copy(update={"minimum_count": 4})
    sites = [
        Deployed(site_file(root, name, bounds=bounds), tmp_path / name)
        for name in ("dias", "rosendahl")
    ]
    asked = federate(sites, learner)
    info = wire.decode_site_info(sites[0].replies[0].content)
    listed = statistics(learner, "tiny", info.classes, bounds, malignant=True)
    assert {one.minimum_count for one in listed} == {4}
    for site in sites:
        first, *lines = site.lines()
        # What joining tells is no array.
        assert {one["dtype"] for one in first["sent"]} == {"text"}
        for line, round_ in zip(lines, asked, strict=True):
            *arrays, count = line["sent"]
            assert (count["name"], count["dtype"], count["shape"]) == ("count", "text", [])
            left = Counter((a["name"], tuple(a["shape"]), a["dtype"], a["bytes"]) for a in arrays)
            expected = Counter(
                (one.name, one.shape, one.dtype, one.bytes + HEADER)
                for one in listed
                if one.when == round_.stage
            )
            assert left == expected
            assert line["minimum_count"] == 4
    # Nothing is listed that is never asked for.
    assert {one.when for one in listed} == {one.stage for one in asked}


@pytest.mark.parametrize("learner", LINEAR)
def test_the_table_names_the_part_of_the_split_that_is_summed_over(
    write_cached_cohort: Callable[..., Path], tmp_path: Path, learner: str
) -> None:
    site = Deployed(site_file(write_cached_cohort({"dias": 200})), tmp_path / "site")
    asked = federate([site], learner)
    info = wire.decode_site_info(site.replies[0].content)
    assert len({info.train, info.validation, info.test}) == 3
    listed = statistics(learner, "tiny", info.classes, TINY_BOUNDS, malignant=True)
    part = {one.when: one.part for one in listed}
    for round_, reply in zip(asked, site.replies[1:], strict=True):
        assert reply.content["config"]["count"] == getattr(info, part[round_.stage])


def test_a_site_without_resamples_or_known_malignant_classes_lists_none() -> None:
    bounds = TINY_BOUNDS.model_copy(update={"most_draws": 0})
    listed = statistics("ridge", "tiny", ("mel", "nv"), bounds, malignant=False)
    drawn = [one for one in listed if one.name.startswith("drawn_")]
    assert drawn
    assert {one.bytes for one in drawn} == {0}
    assert not [one for one in listed if "malignant" in one.name]
