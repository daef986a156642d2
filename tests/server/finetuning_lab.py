"""A grid for whole runs of fine-tuning: real sums, and sites that stand in for local training."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from flwr.app import Message, RecordDict

import common.backbones.registry
from common import wire
from common.evaluation import evaluation_sums
from common.finetuning.network import build_network
from common.finetuning.order import Order, Update
from common.finetuning.plan import parse_plan, place_of
from common.finetuning.strategies import training_of
from common.finetuning.travel import Travel
from common.learners.base import Arrays
from common.settings import RunSettings
from server.finetuning.run import run_finetuning
from tests.server.conftest import CLASSES, MALIGNANT, TINY

if TYPE_CHECKING:
    from tests.server.conftest import FakeGrid, Hospitals

TRUNK = '''
"""Two stages with norms."""

import torch
from torch import nn


def load_trunk(kept: int) -> nn.Sequential:
    torch.manual_seed(0)
    sizes = ((3, 4), (4, 8))
    stages = [nn.Sequential(nn.Conv2d(a, b, 1), nn.BatchNorm2d(b)) for a, b in sizes]
    return nn.Sequential(*stages[:kept]).eval()
'''
PLAN = "plan=head:2,all:3"


def two_stages(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the backbone of two stages the one that there is."""
    (folder / "two_stages.py").write_text(TRUNK, encoding="utf-8")
    monkeypatch.syspath_prepend(folder)
    backbone = replace(TINY, module="two_stages", channels=(4, 8))
    monkeypatch.setattr(common.backbones.registry, "_BACKBONES", (backbone,))


def run_settings(**changes: Any) -> RunSettings:
    given = {"strategy": "fedavg", "training": PLAN, "draws": 0, "backbone": "tiny", **changes}
    return RunSettings(**given)


class Lab:
    """A grid on which sites answer what `finetune` and `judge` say, for other messages as always.

    Attributes
    ----------
    quality : dict of int to float
        Share of images predicted right with a round's weights.
    fails_at : int
        Round in whose training the coordinator dies.
    """

    def __init__(self, hospitals: Hospitals, settings: RunSettings) -> None:
        self.sites, self.settings = hospitals.sites, settings
        self.grid: FakeGrid = hospitals.grid(**settings.model_dump(exclude={"backbone"}))
        self.quality: dict[int, float] = {}
        self.fails_at, self.orders = 0, list[tuple[str, str, Order]]()
        self.judged: dict[tuple[int, str], Arrays] = {}
        for node, real in list(self.grid.answers.items()):
            self.grid.answers[node] = self._answer(node, real)

    def _answer(
        self, node: int, real: Callable[[Message], Message]
    ) -> Callable[[Message], Message]:
        def answer(message: Message) -> Message:
            kind = message.metadata.message_type
            if kind not in (wire.FINETUNE, wire.JUDGE):
                return real(message)
            content = copy.deepcopy(message.content)
            order = wire.decode_order(content, len(CLASSES))
            self.orders.append((self.sites[node].name, kind, order))
            travel = self._travel(order.round)
            if kind == wire.JUDGE:
                arrays = wire.unpack_arrays(content, {**travel.weights, **travel.start})
                self.judged[order.round, order.part.value] = arrays
                return Message(self._judge(node, order), reply_to=message)
            if order.round == self.fails_at:
                raise KeyboardInterrupt
            arrays = wire.unpack_arrays(
                content, {**travel.weights, **travel.start, **travel.companions}
            )
            rng = np.random.default_rng([order.round, node])
            moved = {
                name: (a + rng.normal(scale=0.01, size=a.shape)).astype(np.float32)
                for name, a in arrays.items()
                if name not in travel.start
            }
            return Message(wire.encode_update(Update(moved, 4, 0.5)), reply_to=message)

        return answer

    def _travel(self, number: int) -> Travel:
        training = training_of(self.settings.strategy, self.settings.training)
        backbone = common.backbones.registry.get_backbone("tiny")
        place = place_of(parse_plan(training.plan, 2), max(number, 1))
        network = build_network(backbone, len(CLASSES))
        return Travel(network, place.phase.depth, training.norm, self.settings.strategy)

    def _judge(self, node: int, order: Order) -> RecordDict:
        site = self.sites[node]
        y = site.y[site.member(order.part)]
        rng = np.random.default_rng(node)
        right = rng.uniform(size=len(y)) < self.quality.get(order.round, 0.5)
        probabilities = np.full((len(y), 3), 0.1)
        probabilities[np.arange(len(y)), np.where(right, y, (y + 1) % 3)] = 0.8
        malignant = np.isin(CLASSES, MALIGNANT)
        sums = evaluation_sums(y, probabilities, site.disclosure, malignant=malignant)
        return wire.encode_contribution(sums)


def run(lab: Lab, folder: Path, name: str = "out", work: str = "work") -> dict[str, Any]:
    out = folder / name
    out.mkdir()
    return run_finetuning(lab.grid, lab.settings, out, lambda _line: None, folder / work)
