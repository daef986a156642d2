"""Rounds of plain SGD on a linear network, with slopes that are written out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from client.training.local import Batches, LocalTraining, Trained
from client.training.loss import LossSettings
from client.training.rules import make_rule
from client.training.rules.base import LocalRule
from common.finetuning.network import FineTunedNetwork
from common.finetuning.plan import Phase, Place
from common.finetuning.settings import TrainingSettings
from common.finetuning.strategies import (
    read_strategy,
)

IMAGES, CLASSES, WIDTH, STEPS, BATCH, RATE = 12, 3, 4, 5, 6, 0.3
TRUNK, HEAD, BIAS = "trunk.0.weight", "classifier.weight", "classifier.bias"
SGD = TrainingSettings(
    optimizer="sgd",
    momentum=0.0,
    weight_decay=0.0,
    clip=0.0,
    schedule="constant",
    lr=RATE,
    head_lr=RATE,
    label_smoothing=0.0,
    keep_optimizer=False,
    precision="float32",
)
LATE = Place(Phase(1, 8), 4)
Weights = dict[str, NDArray[np.float64]]
Floats = NDArray[np.float64]


class Stacked:
    """A feed of drawn images, which no augmentation changes."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(3)
        self.images = torch.randn((IMAGES, 3, 2, 2), generator=generator)
        self.calls = 0

    def train(self, rows: NDArray[np.intp], seeds: NDArray[np.int64]) -> Tensor:
        self.calls += 1
        return self.images[torch.from_numpy(rows)]

    def plain(self, rows: NDArray[np.intp]) -> Tensor:
        return self.images[torch.from_numpy(rows)]


def make_network(*, norm: bool = False, seed: int = 0) -> FineTunedNetwork:
    stage: nn.Module = nn.Conv2d(3, WIDTH, 1, bias=False)
    if norm:
        stage = nn.Sequential(stage, nn.BatchNorm2d(WIDTH))
    network = FineTunedNetwork(nn.Sequential(stage), WIDTH, CLASSES).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return network


def make_batches(steps: int = STEPS) -> Batches:
    rng = np.random.default_rng(1)
    y, rows = rng.integers(CLASSES, size=IMAGES), rng.integers(IMAGES, size=(STEPS, BATCH))
    return Batches(rows[:steps], np.zeros_like(rows[:steps]), y, 0)


def make_run(
    *,
    settings: TrainingSettings = SGD,
    place: Place = LATE,
    companions: Mapping[str, Tensor] | None = None,
    memory: Mapping[str, Tensor] | None = None,
    network: FineTunedNetwork | None = None,
    feed: Stacked | None = None,
    steps: int = STEPS,
    precision: torch.dtype = torch.float32,
) -> LocalTraining:
    return LocalTraining(
        make_network() if network is None else network,
        place,
        settings,
        LossSettings(settings.label_smoothing, 0.0, settings.mixup, None),
        Stacked() if feed is None else feed,
        make_batches(steps),
        companions=companions or {},
        memory=memory or {},
        precision=precision,
        device="cpu",
    )


def rule(name: str, text: str = "") -> LocalRule:
    return make_rule(name, read_strategy(name, text))


def numbers(tensors: Mapping[str, Tensor]) -> Weights:
    return {name: tensor.detach().double().numpy().copy() for name, tensor in tensors.items()}


def start() -> Weights:
    """Give the received weights."""
    return numbers(dict(make_network().named_parameters()))


def loss_and_slope(w: Weights, step: int) -> tuple[float, Weights]:
    """Give softmax regression's loss on a linear map of mean pixels, and its slope, by hand."""
    batches = make_batches()
    rows = batches.rows[step]
    x = Stacked().images.double().numpy()[rows].mean((2, 3))
    z = x @ w[TRUNK][:, :, 0, 0].T
    scores = z @ w[HEAD].T + w[BIAS]
    p = np.exp(scores - scores.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    target = np.eye(CLASSES)[batches.y[rows]]
    error = (p - target) / BATCH
    slope = {
        TRUNK: (error @ w[HEAD]).T @ x,
        HEAD: error.T @ z,
        BIAS: error.sum(0),
    }
    slope[TRUNK] = slope[TRUNK][:, :, None, None]
    return float(-np.log((p * target).sum(1)).mean()), slope


def descend(
    w: Weights,
    change: Callable[[Weights, Weights, int], Weights] = lambda _w, slope, _step: slope,
) -> Weights:
    """Take all steps of SGD, with the slope as `change` makes it of weights, slope and step."""
    for step in range(STEPS):
        slope = change(w, loss_and_slope(w, step)[1], step)
        w = {name: w[name] - RATE * slope[name] if name in slope else w[name] for name in w}
    return w


def assert_close(found: Mapping[str, Tensor], expected: Weights) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name].numpy(), value, rtol=2e-5, atol=2e-6, err_msg=name)


def assert_same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def differs(found: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return any(not torch.allclose(found[n], t, rtol=1e-3, atol=1e-4) for n, t in other.items())


def plain() -> Trained:
    return make_run().run(LocalRule())
