"""Which site a node is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from flwr.app import Context, RecordDict

from client.node import site_of_node
from common.errors import CohortError, DermafedError, PartitionError, SettingsError

if TYPE_CHECKING:
    from flwr.app.user_config import UserConfigValue

    from client.site import Site

WriteCachedCohort = Callable[..., Path]


def _open(run: dict[str, UserConfigValue], node: dict[str, UserConfigValue]) -> Site:
    config = {"backbone": "tiny", **run}
    return site_of_node(
        Context(run_id=1, node_id=4, node_config=node, state=RecordDict(), run_config=config)
    )


def _simulated(
    root: Path, index: int, nodes: int, **run: UserConfigValue
) -> tuple[dict[str, UserConfigValue], dict[str, UserConfigValue]]:
    config = {"cohort": str(root), "cache": str(root / "cache"), **run}
    return config, {"partition-id": index, "num-partitions": nodes}


def _real(root: Path, site: str) -> dict[str, UserConfigValue]:
    return {"cohort": str(root), "site": site, "cache": str(root / "cache")}


def test_simulated_nodes_share_the_runs_cohort_by_acquisition_site(
    write_cached_cohort: WriteCachedCohort,
) -> None:
    root = write_cached_cohort({"rosendahl": 12, "dias": 9, "molemax": 20})
    sites = [_open(*_simulated(root, index, 3)) for index in range(3)]
    assert [(site.name, len(site.y)) for site in sites] == [
        ("dias", 9),
        ("molemax", 20),
        ("rosendahl", 12),
    ]
    rows = np.concatenate([site.rows for site in sites])
    assert sorted(rows.tolist()) == list(range(41))


def test_simulated_nodes_share_a_drawn_partition(write_cached_cohort: WriteCachedCohort) -> None:
    root = write_cached_cohort({"rosendahl": 30})
    sites = [_open(*_simulated(root, index, 4, partition="iid:4", seed=2)) for index in range(4)]
    assert [site.name for site in sites] == ["site-0", "site-1", "site-2", "site-3"]
    assert sorted(np.concatenate([site.rows for site in sites]).tolist()) == list(range(30))


@pytest.mark.parametrize("nodes", [0, 1, 2, 4, 100])
def test_a_simulation_of_another_size_than_the_partition_says_what_to_set(
    write_cached_cohort: WriteCachedCohort, nodes: int
) -> None:
    root = write_cached_cohort({"rosendahl": 12, "dias": 9, "molemax": 20})
    with pytest.raises(SettingsError, match=f"has 3 sites, but {nodes} nodes.*num-supernodes=3"):
        _open(*_simulated(root, 0, nodes))


@pytest.mark.parametrize("index", [-1, 3])
def test_a_partition_id_that_is_none_of_the_nodes_is_refused(
    write_cached_cohort: WriteCachedCohort, index: int
) -> None:
    root = write_cached_cohort({"rosendahl": 12, "dias": 9, "molemax": 20})
    with pytest.raises(SettingsError, match=f"partition-id: {index} of 3 nodes"):
        _open(*_simulated(root, index, 3))


def test_a_simulated_node_needs_the_runs_cohort() -> None:
    with pytest.raises(SettingsError, match="run setting cohort"):
        _open({}, {"partition-id": 0, "num-partitions": 1})


@pytest.mark.parametrize("partition", ["sites", "iid:0", "iid:1000", "dirichlet:-1:2"])
def test_a_partition_that_cannot_be_made_is_refused(
    write_cached_cohort: WriteCachedCohort, partition: str
) -> None:
    with pytest.raises(PartitionError):
        _open(*_simulated(write_cached_cohort(), 0, 3, partition=partition))


def test_a_real_site_opens_its_own_images_of_its_own_cohort(
    write_cached_cohort: WriteCachedCohort,
) -> None:
    root = write_cached_cohort({"rosendahl": 12, "dias": 9})
    site = _open({}, _real(root, "dias"))
    assert (site.name, site.rows.tolist()) == ("dias", list(range(12, 21)))
    assert site.classes == ("akiec", "bcc", "bkl", "df", "mel", "nv", "vasc")


def test_a_run_cannot_name_a_real_sites_cohort_cache_or_partition(
    write_cached_cohort: WriteCachedCohort, tmp_path: Path
) -> None:
    mine = write_cached_cohort({"dias": 9, "rosendahl": 3}, name="mine")
    theirs = write_cached_cohort({"dias": 30, "rosendahl": 30}, name="theirs")
    run: dict[str, UserConfigValue] = {
        "cohort": str(theirs),
        "cache": str(tmp_path / "theirs-cache"),
        "partition": "iid:1",
        "seed": 9,
    }
    for more in ({}, {"partition-id": 0, "num-partitions": 1}):
        site = _open(run, {**_real(mine, "dias"), **more})
        assert (site.name, len(site.y)) == ("dias", 9)
    assert not (tmp_path / "theirs-cache").exists()


def test_a_real_sites_own_cache_is_the_default_one_and_not_the_runs(
    write_cached_cohort: WriteCachedCohort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_cached_cohort({"dias": 9})
    monkeypatch.setenv("DERMAFED_CACHE", str(root / "cache"))
    node: dict[str, UserConfigValue] = {"cohort": str(root), "site": "dias"}
    assert len(_open({"cache": str(tmp_path / "theirs")}, node).y) == 9


def test_a_real_site_without_a_site_column_holds_the_whole_cohort(
    write_cached_cohort: WriteCachedCohort,
) -> None:
    root = write_cached_cohort({"dias": 9, "rosendahl": 3})
    table = root / "HAM10000_metadata.csv"
    lines = [line.rsplit(",", 1)[0] for line in table.read_text().splitlines()]
    table.write_text("\n".join(lines) + "\n")
    site = _open({}, _real(root, "clinic"))
    assert (site.name, len(site.y)) == ("clinic", 12)


def test_a_name_that_the_cohort_does_not_have_is_refused_with_those_it_has(
    write_cached_cohort: WriteCachedCohort,
) -> None:
    root = write_cached_cohort({"dias": 9, "rosendahl": 3})
    with pytest.raises(
        CohortError, match=r"site dais: not in .*; sites there: dias, rosendahl, by"
    ):
        _open({}, _real(root, "dais"))


def test_a_mistyped_setting_of_a_real_site_is_refused(
    write_cached_cohort: WriteCachedCohort,
) -> None:
    node: dict[str, UserConfigValue] = {"cohort": "/data", "site": "dias", "minimum_count": 20}
    with pytest.raises(SettingsError, match="minimum_count unknown; known: .*minimum-count"):
        _open({}, node)


def test_a_site_that_fixes_its_split_seed_refuses_another(
    write_cached_cohort: WriteCachedCohort,
) -> None:
    node: dict[str, UserConfigValue] = {"cohort": "/data", "site": "dias", "split-seed": 3}
    with pytest.raises(SettingsError, match="split-seed is 4, this site allows 3"):
        _open({"split-seed": 4}, node)


@pytest.mark.parametrize(
    "node", [{}, {"site": "dias"}, {"cohort": "/data"}, {"site": "dias", "partition-id": 0}]
)
def test_a_node_without_cohort_or_site_is_told_what_to_give(
    node: dict[str, UserConfigValue], write_cached_cohort: WriteCachedCohort
) -> None:
    with pytest.raises(SettingsError, match="cohort and site must be given"):
        _open({"cohort": str(write_cached_cohort())}, node)


def test_a_wrong_run_is_refused_before_the_cohort_is_read(
    write_cached_cohort: WriteCachedCohort,
) -> None:
    root = write_cached_cohort({"dias": 9})
    with pytest.raises(SettingsError, match="qourum"):
        _open({"qourum": 1}, _real(root / "not there", "dias"))
    with pytest.raises(SettingsError, match="vgg"):
        _open({"backbone": "vgg"}, _real(root, "dias"))


def test_unreadable_images_are_left_out_only_where_the_run_says_so(
    write_cached_cohort: WriteCachedCohort,
) -> None:
    root = write_cached_cohort({"dias": 9})
    (root / "images" / "dias-4.jpg").write_bytes(b"")
    with pytest.raises(DermafedError, match=r"dias-4\.jpg: the file is empty"):
        _open({}, _real(root, "dias"))
    site = _open({"skip-unreadable": True}, {**_real(root, "dias"), "minimum-count": 1})
    assert site.rows.tolist() == [0, 1, 2, 3, 5, 6, 7, 8]
    assert [len(a) for a in (site.x, site.y, site.split)] == [8, 8, 8]
    assert site.lesions == 8
    assert "dias-4.jpg" in site.unreadable[0]


def test_a_site_of_which_no_image_can_be_read_is_refused(
    write_cached_cohort: WriteCachedCohort,
) -> None:
    root = write_cached_cohort({"dias": 2})
    for path in (root / "images").iterdir():
        path.write_bytes(b"")
    with pytest.raises(CohortError, match="none of its 2 images can be read"):
        _open({"skip-unreadable": True}, _real(root, "dias"))


def test_the_split_of_a_site_does_not_depend_on_who_else_takes_part(
    write_cached_cohort: WriteCachedCohort,
) -> None:
    both = write_cached_cohort({"dias": 40, "rosendahl": 30}, name="one")
    simulated = _open(*_simulated(both, 0, 2, **{"split-seed": 3}))
    real = _open({"split-seed": 3}, _real(both, "dias"))
    assert simulated.split.tolist() == real.split.tolist()
    assert simulated.x.tobytes() == real.x.tobytes()
    assert set(real.split.tolist()) == {"train", "validation", "test"}
    assert _open({"split-seed": 4}, _real(both, "dias")).split.tolist() != real.split.tolist()


def test_a_real_site_is_asked_for_features_in_vain(write_cached_cohort: WriteCachedCohort) -> None:
    """Not even one that withholds nothing of its sums ships single images' features."""
    root = write_cached_cohort({"dias": 9})
    asked: dict[str, UserConfigValue] = {
        "learner": "knn",
        "learner-settings": "ships_features=yes",
    }
    with pytest.raises(SettingsError, match="a real site answers it never"):
        _open(asked, {**_real(root, "dias"), "minimum-count": 1})


def test_tuning_deals_a_sites_lesions_by_class(write_cached_cohort: WriteCachedCohort) -> None:
    root = write_cached_cohort({"dias": 60})
    asked: dict[str, UserConfigValue] = {
        "learner": "tuned",
        "learner-settings": "learner=ridge space=pca=1|2 folds=3",
    }
    site = _open(asked, _real(root, "dias"))
    assert site.fold is not None
    train = site.split == "train"
    for label in np.unique(site.y[train]):
        of_class = train & (site.y == label)
        held = np.bincount(site.fold[of_class], minlength=3)
        largest = np.unique(site.group[of_class], return_counts=True)[1].max()
        assert held.max() - held.min() <= largest
