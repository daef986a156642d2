"""A site's round of training, against bare PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from client.site import Site, open_site
from client.training.feed import normalised
from client.training.trainer import Trainer
from common.backbones import get_backbone
from common.cohort import load_cohort
from common.disclosure import Disclosure
from common.errors import ContributionError, StateError
from common.evaluation import class_probabilities
from common.feature_cache import FeatureCache
from common.finetuning.network import (
    build_network,
    classifier_of,
    read_tensors,
    trained_tensors,
)
from common.finetuning.order import Order, Update
from common.learners import make_learner
from common.learners.base import Problem
from common.learners.total import Total
from common.settings import RunSettings
from common.split import Split

BACKBONE = "efficientnet_lite0+truncate:3+view:32x24"
RUN = "0" * 32
STILL = (
    "flips=false rotation=0 shift=0 zoom=0 brightness=0 contrast=0 saturation=0 hue=0 "
    "precision=float32 "
)
PLAIN_SGD = (
    STILL + "plan=all:2 epochs=1 batch=0 optimizer=sgd momentum=0 weight_decay=0 lr=0.05 "
    "head_lr=0.1 schedule=constant balance=none label_smoothing=0 clip=0"
)

PERSONAL = "plan=all:2 steps=4 batch=8 share_batch=false lr=0.05 head_lr=0.3 precision=float32"

OpenSites = Callable[[], dict[str, Site]]


@pytest.fixture
def open_sites(tmp_path: Path, write_cohort: Callable[..., Path]) -> OpenSites:
    """Two sites of different sizes and mixtures of classes."""
    rows = [
        {"dx": ("nv", "mel", "bkl")[i % 3], "dataset": "vidir_modern" if i % 3 else "rosendahl"}
        for i in range(45)
    ]
    root = write_cohort(rows)

    def open_() -> dict[str, Site]:
        cohort, backbone = load_cohort(root), get_backbone(BACKBONE)
        return {
            name: open_site(
                name,
                cohort,
                np.flatnonzero(cohort.site == name),
                backbone,
                FeatureCache(tmp_path / "cache", backbone),
                split_seed=1,
            )
            for name in cohort.sites
        }

    return open_


def _counts(site: Site) -> np.ndarray[Any, Any]:
    return np.bincount(site.part(Split.TRAIN).y, minlength=len(site.classes))


def _order(sites: dict[str, Site], number: int, state: int) -> Order:
    total = np.sum([_counts(site) for site in sites.values()], axis=0)
    return Order(RUN, number, state, 0, Split.TRAIN, tuple(int(n) for n in total))


def _settings(strategy: str = "fedavg", training: str = PLAIN_SGD, **more: Any) -> RunSettings:
    return RunSettings(backbone=BACKBONE, strategy=strategy, training=training, **more)


def _start(site: Site) -> dict[str, Any]:
    network = build_network(get_backbone(BACKBONE), len(site.classes))
    arrays = read_tensors(trained_tensors(network, 3, "frozen"))
    rng = np.random.default_rng(0)
    arrays["classifier.weight"] = rng.normal(0, 0.3, arrays["classifier.weight"].shape).astype("f4")
    return arrays


def _rounds(
    sites: dict[str, Site], states: Path, settings: RunSettings, rounds: int
) -> tuple[dict[str, Any], list[dict[str, Update]]]:
    """Train and average by hand: the mean over sites, weighted by their training images."""
    trainers = {name: Trainer(site, settings, states) for name, site in sites.items()}
    arrays, updates = _start(next(iter(sites.values()))), []
    images = {name: len(site.part(Split.TRAIN)) for name, site in sites.items()}
    share = {name: count / sum(images.values()) for name, count in images.items()}
    for number in range(1, rounds + 1):
        order = _order(sites, number, number - 1)
        found = {name: trainer.finetune(order, arrays) for name, trainer in trainers.items()}
        arrays = {
            key: sum(found[name].arrays[key] * share[name] for name in sites) for key in arrays
        }
        updates.append(found)
    return arrays, updates


def _centralised(sites: dict[str, Site], steps: int) -> dict[str, Any]:
    """Full-batch gradient descent on all sites' training images at once, in bare PyTorch."""
    network = build_network(get_backbone(BACKBONE), len(next(iter(sites.values())).classes))
    start = _start(next(iter(sites.values())))
    state = network.state_dict()
    state.update({name: torch.from_numpy(array) for name, array in start.items()})
    network.load_state_dict(state)
    images, labels = [], []
    for site in sites.values():
        rows = np.flatnonzero(site.member(Split.TRAIN))
        pixels = torch.from_numpy(site.pixels.take(rows)).permute(0, 3, 1, 2)
        images.append(normalised(pixels, site.pixels, "cpu"))
        labels.append(torch.from_numpy(site.y[rows]))
    x, y = torch.cat(images), torch.cat(labels)
    counts = torch.bincount(y, minlength=len(next(iter(sites.values())).classes))
    # Logit adjustment, written out; a class without images has none.
    shift = torch.where(counts > 0, counts / len(y), 1.0).log()
    for _ in range(steps):
        loss = torch.nn.functional.cross_entropy(network(x) + shift, y)
        network.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                assert parameter.grad is not None
                rate = 0.1 if name.startswith("classifier") else 0.05
                parameter.sub_(rate * parameter.grad)
    return {name: p.detach().numpy() for name, p in network.named_parameters()}


def test_one_full_batch_step_a_round_is_centralised_gradient_descent(
    open_sites: OpenSites, tmp_path: Path
) -> None:
    sites = open_sites()
    found, _ = _rounds(sites, tmp_path / "states", _settings(), 2)
    expected, start = _centralised(sites, 2), _start(next(iter(sites.values())))
    assert found.keys() == expected.keys()
    moved = max(np.abs(expected[name] - start[name]).max() for name in start)
    assert moved > 1e-2
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("strategy", "settings"), [("fedprox", "mu=0"), ("gradual-sam", "rho=0"), ("moon", "mu=0")]
)
def test_a_strategy_whose_term_is_zero_is_fedavg(
    open_sites: OpenSites, tmp_path: Path, strategy: str, settings: str
) -> None:
    training = "plan=all:2 steps=3 batch=6 precision=float32"
    plain, _ = _rounds(open_sites(), tmp_path / "a", _settings("fedavg", training), 2)
    named = _settings(strategy, training, strategy_settings=settings)
    found, _ = _rounds(open_sites(), tmp_path / "b", named, 2)
    for name, array in plain.items():
        np.testing.assert_array_equal(found[name], array)


def test_scaffold_with_zero_control_variates_is_fedavg(
    open_sites: OpenSites, tmp_path: Path
) -> None:
    training = "plan=all:1 steps=3 batch=6 precision=float32"
    plain, _ = _rounds(open_sites(), tmp_path / "a", _settings("fedavg", training), 1)
    sites = open_sites()
    start = _start(next(iter(sites.values())))
    zeros = {f"control|{name}": np.zeros_like(array) for name, array in start.items()}
    order, images = _order(sites, 1, 0), {n: len(s.part(Split.TRAIN)) for n, s in sites.items()}
    found = {
        name: Trainer(site, _settings("scaffold", training), tmp_path / "b")
        .finetune(order, {**start, **zeros})
        .arrays
        for name, site in sites.items()
    }
    for name, array in plain.items():
        mean = sum(found[s][name] * (images[s] / sum(images.values())) for s in sites)
        np.testing.assert_array_equal(mean, array)
        changes = [found[s][f"control|{name}"] for s in sites]
        assert not np.array_equal(changes[0], changes[1])


def test_two_runs_with_one_seed_give_the_same_bits_and_another_seed_others(
    open_sites: OpenSites, tmp_path: Path
) -> None:
    training = "plan=all:2 steps=3 batch=6"
    first, _ = _rounds(open_sites(), tmp_path / "a", _settings(training=training), 2)
    second, _ = _rounds(open_sites(), tmp_path / "b", _settings(training=training), 2)
    other, _ = _rounds(open_sites(), tmp_path / "c", _settings(training=training, seed=1), 2)
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)
    assert any(first[name].tobytes() != other[name].tobytes() for name in first)


def test_a_round_that_is_repeated_gives_the_same_update_also_after_a_restart(
    open_sites: OpenSites, tmp_path: Path
) -> None:
    sites, settings = open_sites(), _settings(training="plan=all:3 steps=2 batch=6")
    name, site = next(iter(sites.items()))
    arrays = _start(site)
    trainer = Trainer(site, settings, tmp_path / "states")
    trainer.finetune(_order(sites, 1, 0), arrays)
    once = trainer.finetune(_order(sites, 2, 1), arrays)
    again = Trainer(open_sites()[name], settings, tmp_path / "states").finetune(
        _order(sites, 2, 1), arrays
    )
    assert all(once.arrays[key].tobytes() == again.arrays[key].tobytes() for key in arrays)
    # The moments of round 1 matter: without them the update is another one.
    fresh = trainer.finetune(_order(sites, 2, 0), arrays)
    assert any(once.arrays[key].tobytes() != fresh.arrays[key].tobytes() for key in arrays)


def test_a_state_that_is_lost_is_an_error_not_a_fresh_start(
    open_sites: OpenSites, tmp_path: Path
) -> None:
    sites = open_sites()
    site = next(iter(sites.values()))
    trainer = Trainer(site, _settings(), tmp_path / "states")
    with pytest.raises(StateError, match="round 1 left cannot be read"):
        trainer.finetune(_order(sites, 2, 1), _start(site))


@pytest.mark.parametrize(("plan", "stages"), [("head:1", 0), ("1:1", 1), ("2:1", 2)])
def test_kept_activations_train_as_recomputed_ones_do(
    open_sites: OpenSites, tmp_path: Path, plan: str, stages: int
) -> None:
    sites = open_sites()
    site = next(iter(sites.values()))
    training = f"plan={plan} steps=4 batch=8 share_batch=false precision=float32 views=2"
    arrays = {
        name: array
        for name, array in _start(site).items()
        if name.startswith("classifier") or int(name.split(".")[1]) >= 3 - stages
    }
    trainer = Trainer(site, _settings(training=training), tmp_path / "states")
    first = trainer.finetune(_order(sites, 1, 0), arrays)
    # Again, from what is on disk now.
    again = Trainer(site, _settings(training=training), tmp_path / "states").finetune(
        _order(sites, 1, 0), arrays
    )
    files = list((tmp_path / "states").rglob("activations-*.npy"))
    assert len(files) == 2
    for name in arrays:
        np.testing.assert_allclose(again.arrays[name], first.arrays[name], rtol=0, atol=1e-6)
        assert not np.array_equal(first.arrays[name], arrays[name]) or "running" in name


def test_a_site_without_training_images_says_so(open_sites: OpenSites, tmp_path: Path) -> None:
    sites = open_sites()
    site = next(iter(sites.values()))
    empty = Site(**{**vars(site), "kept": np.zeros(len(site.y), dtype=np.bool_)})
    trainer = Trainer(empty, _settings(), tmp_path / "states")
    with pytest.raises(ContributionError, match="no training image"):
        trainer.finetune(_order(sites, 1, 0), _start(site))


def test_a_guarded_site_refuses_a_round_over_fewer_images_than_its_minimum(
    open_sites: OpenSites, tmp_path: Path
) -> None:
    """The weights of one step over one image follow that image."""
    sites = open_sites()
    name, order = next(iter(sites)), _order(sites, 1, 0)
    site = replace(sites[name], disclosure=Disclosure(9))
    few = STILL + "plan=all:2 share_batch=false balance=none "

    def rounds(batch: int, steps: int, at: Site) -> Update:
        training = f"{few} batch={batch} steps={steps}"
        trainer = Trainer(at, _settings(training=training), tmp_path / f"{batch}-{steps}")
        return trainer.finetune(order, _start(at))

    # Without replacement, 8 and 9 different images.
    for batch, steps in ((1, 1), (8, 1), (2, 4)):
        with pytest.raises(ContributionError, match="fewer than its minimum of 9; raise steps"):
            rounds(batch, steps, site)
        rounds(batch, steps, sites[name])
    assert rounds(9, 1, site).steps == 1
    assert rounds(3, 3, site).steps == 3


@pytest.mark.parametrize("strategy", ["fedper", "fedrep", "fedbn"])
def test_what_is_personal_never_leaves_the_site_and_is_used_there(
    open_sites: OpenSites, tmp_path: Path, strategy: str
) -> None:
    sites = open_sites()
    site = next(iter(sites.values()))
    settings = _settings(strategy, PERSONAL)
    trainer = Trainer(site, settings, tmp_path / "states")
    weights = trainer.travel(1).weights
    personal = "bn" if strategy == "fedbn" else "classifier"
    assert not [name for name in weights if personal in name]
    assert not [name for name in weights if "running" in name]
    sent = {**weights, **trainer.travel(1).start}
    arrays = {name: array for name, array in _start(site).items() if name in sent}
    update = trainer.finetune(_order(sites, 1, 0), arrays)
    assert update.arrays.keys() == weights.keys()
    rows = np.flatnonzero(site.member(Split.TRAIN))
    with_own = trainer.predict(_order(sites, 1, 1), arrays, rows)
    without = trainer.predict(_order(sites, 1, 0), arrays, rows)
    assert np.abs(with_own - without).max() > 1e-4


@pytest.mark.parametrize("learner", ["ridge", "lda", "logistic"])
def test_round_0_predicts_as_the_exact_head_does_on_frozen_features(
    open_sites: OpenSites, tmp_path: Path, learner: str
) -> None:
    sites = open_sites()
    site = next(iter(sites.values()))
    exact = make_learner(
        learner, Problem(site.classes, site.backbone.dimension), "calibrate=temperature pca=8"
    )
    state = exact.start()
    while not state.done:
        sums = [
            exact.contribute(one.part(exact.part(state.stage)), state) for one in sites.values()
        ]
        total = Total()
        for one in sums:
            total.add(one)
        state = exact.update(state, total.value())
    training = PLAIN_SGD + " flip_average=false precision=bfloat16"
    trainer = Trainer(site, _settings(training=training.replace(STILL, "")), tmp_path / "states")
    arrays = {**_start(site), **classifier_of(state.arrays)}
    rows = np.arange(len(site.y))
    order = Order(RUN, 0, 0, 0, Split.TEST, (0,) * len(site.classes))
    found = trainer.predict(order, arrays, rows)
    expected = class_probabilities(exact.head(state), site.classes, site.x)
    present = expected.any(axis=0)
    np.testing.assert_allclose(found[:, present], expected[:, present], atol=2e-3)
    np.testing.assert_array_equal(found.argmax(axis=1), expected.argmax(axis=1))
