"""The page of what would leave a site in any run that it allows, against what leaves it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client.deployment.leaving import Statistic, statistics
from client.deployment.leaving_runs import of_learners, of_strategies
from client.deployment.settings import Bounds
from client.site import open_site
from client.training.trainer import Trainer
from common.backbones import get_backbone
from common.cohort import load_cohort
from common.errors import SettingsError
from common.feature_cache import FeatureCache
from common.finetuning.network import build_network, read_tensors
from common.finetuning.order import Order
from common.finetuning.strategies import STRATEGIES
from common.learners import LEARNERS, LINEAR
from common.settings import RunSettings
from common.split import Split
from tests.client.deployed_site import TINY_BOUNDS

CLASSES = ("bkl", "mel", "nv")
BACKBONE = "efficientnet_lite0+truncate:3+view:32x24"


# Learners


def test_each_statistic_of_each_allowed_learner_is_listed_once() -> None:
    bounds = TINY_BOUNDS.model_copy(update={"minimum_count": 7})
    listed = of_learners(LEARNERS, "tiny", CLASSES, bounds, malignant=True)
    plain = [group for group in listed if not group.setting]
    for learner in LEARNERS:
        found = [one for group in plain if learner in group.names for one in group.statistics]
        expected = statistics(learner, "tiny", CLASSES, bounds, malignant=True)
        # Of the many members of an ensemble, lines are put together.
        assert sum(one.bytes for one in found) == sum(one.bytes for one in expected)
        if learner in LINEAR:
            assert sorted(found, key=repr) == sorted(expected, key=repr)
    everything = [one for group in plain for one in group.statistics]
    assert len(set(everything)) == len(everything)
    assert {one.minimum_count for one in everything} == {7}
    # Learners with the same sums are together, and none is named twice with the same others.
    assert len({group.names for group in plain}) == len(plain)
    assert {"lda", "ridge"} in [set(group.names) for group in plain]


def test_the_same_sums_of_an_ensembles_members_stand_in_one_line() -> None:
    (group,) = of_learners(("balanced-bagging",), "tiny", CLASSES, TINY_BOUNDS, malignant=True)[:1]
    found = {one.name: one for one in group.statistics if one.when == "moments"}
    # Ten bags, of eight features each.
    assert found["x_sum, 10 times"].shape == (8,)
    assert found["x_sum, 10 times"].bytes == 10 * 8 * 8
    assert not [one for one in group.statistics if ":" in one.when + one.name]


def test_a_learner_that_is_not_allowed_is_not_listed() -> None:
    listed = of_learners(("ncm", "ridge"), "tiny", CLASSES, TINY_BOUNDS, malignant=True)
    assert {name for group in listed for name in group.names} == {"ncm", "ridge"}
    assert not [one for group in listed for one in group.statistics if one.when == "curvature"]


def test_what_settings_add_is_listed_under_the_setting() -> None:
    bounds = TINY_BOUNDS.model_copy(update={"refused": ()})
    listed = of_learners(LEARNERS, "tiny", CLASSES, bounds, malignant=True)

    def added(setting: str, learner: str) -> dict[str, tuple[int | None, ...]]:
        return {
            f"{one.when} {one.name}": one.shape
            for group in listed
            if group.setting == setting and learner in group.names
            for one in group.statistics
        }

    # Of 8 features and 3 classes; packed triangles of 8 + 1 and of 8.
    assert added("ledger=true", "ridge")["class_gram class_gram"] == (3, 45)
    assert added("ledger=true", "logistic") == {}
    assert added("pca=8", "svm")["moments x_gram"] == (36,)
    folds = added("folds=5, 12 values", "ridge")
    assert folds["gram gram"] == (5, 45)
    assert folds["validate hits"] == (12, 5, 3)
    # What a setting leaves as it is, is not listed again.
    assert not {"evaluation scores", "moments x_sum"} & folds.keys()
    assert added("", "ncm").keys() >= {"moments x_sum", "class_sum class_sum"}


def test_what_a_site_refuses_is_not_listed() -> None:
    def settings(**changes: Any) -> set[str]:
        bounds = TINY_BOUNDS.model_copy(update=changes)
        return {
            one.setting for one in of_learners(LEARNERS, "tiny", CLASSES, bounds, malignant=True)
        }

    assert {"ledger=true", "folds=5, 12 values"} <= settings(refused=())
    assert "ledger=true" not in settings(refused=("ledger=true",))
    assert "folds=5, 12 values" not in settings(most_folds=4)
    assert "folds=5, 12 values" in settings(most_folds=5)


def test_a_learner_that_there_is_not_is_refused() -> None:
    with pytest.raises(SettingsError, match="choose one of: ncm"):
        of_learners(("ncmm",), "tiny", CLASSES, TINY_BOUNDS, malignant=True)


# Fine-tuning


def test_a_site_that_allows_no_strategy_has_none_listed() -> None:
    assert of_strategies(BACKBONE, CLASSES, TINY_BOUNDS, malignant=True) == ()


@pytest.mark.parametrize("strategy", ["fedavg", "fedbn", "fedper", "scaffold", "shared-moments"])
def test_what_is_listed_of_a_strategy_is_what_leaves_in_a_round(
    write_cohort: Callable[..., Path], tmp_path: Path, strategy: str
) -> None:
    rows = [{"dx": CLASSES[i % 3], "dataset": "rosendahl"} for i in range(45)]
    cohort, backbone = load_cohort(write_cohort(rows)), get_backbone(BACKBONE)
    cache = FeatureCache(tmp_path / "cache", backbone)
    site = open_site("rosendahl", cohort, np.arange(45), backbone, cache, split_seed=1)
    settings = RunSettings(
        backbone=BACKBONE,
        strategy=strategy,
        training="plan=all:1 steps=1 batch=1 share_batch=false precision=float32",
    )
    trainer = Trainer(site, settings, tmp_path / "states")
    travel, network = trainer.travel(1), build_network(backbone, len(site.classes))
    tensors = read_tensors(network.state_dict())
    arrays = {name: tensors[name] for name in {**travel.weights, **travel.start}}
    beside = {
        name: np.zeros([n or 0 for n in one.shape], "f4") for name, one in travel.companions.items()
    }
    counts = tuple(np.bincount(site.part(Split.TRAIN).y, minlength=len(site.classes)).tolist())
    update = trainer.finetune(Order("0" * 32, 1, 0, 0, Split.TRAIN, counts), {**arrays, **beside})
    bounds = Bounds(strategies=(strategy,), backbones=(BACKBONE,), minimum_count=7)
    listed = _plain(strategy, site.classes, bounds)
    trained = [one for one in listed if one.part == Split.TRAIN.value]
    assert sum(int(one.name.split()[0]) for one in trained) == len(update.arrays)
    assert sum(one.bytes for one in trained) == sum(a.nbytes for a in update.arrays.values())
    assert {one.dtype for one in trained} == {str(a.dtype) for a in update.arrays.values()}
    # At a site that is guarded, a round over fewer is refused.
    assert {one.minimum_count for one in trained} == {7}
    judged = trainer.judge(Order("0" * 32, 0, 0, 0, Split.VALIDATION, counts), arrays)
    (sums,) = [one for one in listed if one.part == Split.VALIDATION.value]
    assert sums.bytes == sum(array.nbytes for array in judged.arrays.values())


def _plain(strategy: str, classes: tuple[str, ...], bounds: Bounds) -> list[Statistic]:
    groups = of_strategies(BACKBONE, classes, bounds, malignant=True)
    assert {group.names for group in groups} == {(strategy,)}
    return [one for group in groups if not group.setting for one in group.statistics]


def test_strategies_that_send_the_same_are_together_and_every_one_is_listed() -> None:
    bounds = Bounds(strategies=tuple(STRATEGIES), backbones=(BACKBONE,))
    listed = of_strategies(BACKBONE, CLASSES, bounds, malignant=True)
    plain = [group for group in listed if not group.setting]
    assert {name for group in plain for name in group.names} == set(STRATEGIES)
    together = [set(group.names) for group in plain]
    assert {"fedper", "fedrep"} in together
    assert {"scaffold"} in together
    # BatchNorm's running means and variances travel only where a run aggregates them.
    size = {
        group.setting: one.bytes
        for group in listed
        if "fedavg" in group.names
        for one in group.statistics
        if one.name.endswith(" weights")
    }
    assert size["norm=aggregated"] > size[""]
