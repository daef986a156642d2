"""A round of training at a site: batches, steps, and what comes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from torch import Tensor, nn, optim

from client.training.loss import LossSettings, classification_loss, mix
from client.training.rules.base import OWN, LocalRule
from client.training.schedule import rate_of, share_of_rate
from common.errors import TrainingError
from common.finetuning.network import FineTunedNetwork, trained_tensors
from common.finetuning.plan import Place
from common.finetuning.settings import TrainingSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

_OPTIMIZER = "optimizer"
_SAMPLE_SEED = 0


class Feed(Protocol):
    """Where batches come from."""

    def train(self, rows: NDArray[np.intp], seeds: NDArray[np.int64]) -> Tensor:
        """Give augmented images as they enter the trained stages."""

    def plain(self, rows: NDArray[np.intp]) -> Tensor:
        """Give images as they are, as they enter the trained stages."""


@dataclass(frozen=True)
class Batches:
    """What a round trains on.

    Attributes
    ----------
    rows : ndarray of intp, shape (steps, batch)
        Positions in the site's training images.
    seeds : ndarray of int64, shape (steps, batch)
        Seeds of their augmentation.
    y : ndarray of intp, shape (n,)
        Labels of the training images.
    mixing : int
        Seed of MixUp.
    """

    rows: NDArray[np.intp]
    seeds: NDArray[np.int64]
    y: NDArray[np.intp]
    mixing: int


@dataclass(frozen=True)
class Trained:
    """What comes of a round.

    Attributes
    ----------
    weights : dict of str to Tensor
        All that is trained.
    companions : dict of str to Tensor
        What travels beside it.
    kept : dict of str to Tensor
        What the site keeps.
    steps : int
        Steps taken.
    loss : float
        Mean loss.
    """

    weights: dict[str, Tensor]
    companions: dict[str, Tensor]
    kept: dict[str, Tensor]
    steps: int
    loss: float


class LocalTraining:
    """A round at a site; a `LocalRun` for its rule.

    Parameters
    ----------
    network : FineTunedNetwork
        With the weights that the round starts from.
    place : Place
        Where the round lies in the plan.
    settings : TrainingSettings
        How sites train.
    loss : LossSettings
        The loss.
    feed : Feed
        Gives images.
    batches : Batches
        What is trained on.
    companions, memory : mapping of str to Tensor
        What came beside the weights, and what the site kept.
    precision : torch.dtype
        Of the products; weights stay float32.
    device : str
        ``cpu`` or ``cuda``.
    """

    def __init__(
        self,
        network: FineTunedNetwork,
        place: Place,
        settings: TrainingSettings,
        loss: LossSettings,
        feed: Feed,
        batches: Batches,
        *,
        companions: Mapping[str, Tensor],
        memory: Mapping[str, Tensor],
        precision: torch.dtype,
        device: str,
    ) -> None:
        self.network, self.place, self.settings = network, place, settings
        self.companions, self.memory = dict(companions), dict(memory)
        self.kept: dict[str, Tensor] = {}
        self.step, self.steps = 0, len(batches.rows)
        self._loss, self._feed, self._batches = loss, feed, batches
        self._precision, self._device = precision, device
        tensors = trained_tensors(network, place.phase.depth, settings.norm)
        self.received = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        self.parameters = {n: t for n, t in tensors.items() if isinstance(t, nn.Parameter)}
        self._tensors = tensors
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name in self.parameters)
        network.eval()
        if settings.norm != "frozen" and place.phase.depth:
            network.trunk[-place.phase.depth :].train()
        self.optimizer = self._new_optimizer()

    def run(self, rule: LocalRule) -> Trained:
        """Train.

        Raises
        ------
        TrainingError
            If the loss is not finite.
        """
        self._rule = rule
        self._restore_optimizer()
        rule.begin(self)
        losses = self._steps(lambda: rule.take_step(self))
        weights = {name: tensor.detach().clone() for name, tensor in self._tensors.items()}
        self._keep_optimizer()
        companions, loss = rule.finish(self, losses)
        return Trained(weights, companions, self.kept, self.steps, loss)

    def backward(self) -> Tensor:
        """As `LocalRun.backward`."""
        rows, seeds = self._batches.rows[self.step], self._batches.seeds[self.step]
        images = self._feed.train(rows, seeds)
        target = torch.from_numpy(self._batches.y[rows]).to(images.device)
        rng = np.random.default_rng([self._batches.mixing, self.step])
        classes = self.network.classifier.out_features
        images, mixed = mix(images, target, classes, self.settings.mixup, rng)
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self._device, self._precision, self._precision != torch.float32):
            features = self.network.upper(images, self.place.phase.depth)
            logits = self.network.classify(features)
        loss = classification_loss(logits.float(), mixed, self._loss)
        extra = self._rule.extra_loss(self, images, features)
        total = loss if extra is None else loss + extra
        total.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def apply(self) -> None:
        """As `LocalRun.apply`."""
        if self.settings.clip:
            nn.utils.clip_grad_norm_(self.parameters.values(), self.settings.clip)
        phase = self.place.phase
        progress = (self.place.position + self.step / self.steps) / phase.rounds
        share = share_of_rate(progress, self.settings)
        for group in self.optimizer.param_groups:
            group["lr"] = group["largest"] * share
        self.optimizer.step()

    def train(self, correct: Callable[[], None]) -> float:
        """As `LocalRun.train`."""
        self.optimizer = self._new_optimizer()

        def one() -> Tensor:
            loss = self.backward()
            correct()
            self.apply()
            return loss

        return self._steps(one)

    def forget_optimizer(self, name: str) -> None:
        """As `LocalRun.forget_optimizer`."""
        for moment in self.optimizer.state[self.parameters[name]]:
            self.kept.pop(f"{_OPTIMIZER}|{moment}|{name}", None)

    def sample_loss(self, images: int) -> float:
        """As `LocalRun.sample_loss`."""
        n = len(self._batches.y)
        rows = np.random.default_rng(_SAMPLE_SEED).permutation(n)[:images]
        total, size = 0.0, self._batches.rows.shape[1]
        with torch.inference_mode():
            for start in range(0, len(rows), size):
                part = rows[start : start + size]
                maps = self._feed.plain(part)
                with torch.autocast(
                    self._device, self._precision, self._precision != torch.float32
                ):
                    logits = self.network.classify(self.network.upper(maps, self.place.phase.depth))
                target = torch.from_numpy(self._batches.y[part]).to(logits.device)
                loss = classification_loss(logits.float(), target, self._loss)
                total += float(loss) * len(part)
        return total / len(rows)

    def _steps(self, one: Callable[[], Tensor]) -> float:
        total = 0.0
        for step in range(self.steps):
            self.step = step
            total += float(one())
            if not np.isfinite(total):
                raise TrainingError(
                    f"round {self.place.position + 1} of the phase: the loss is not finite at step "
                    f"{self.step + 1}; lower lr, or set clip or precision=float32"
                )
        return total / self.steps

    def _new_optimizer(self) -> optim.Optimizer:
        settings, stages = self.settings, len(self.network.trunk)
        rates: dict[float, list[nn.Parameter]] = {}
        for name, parameter in self.parameters.items():
            rates.setdefault(rate_of(name, stages, settings), []).append(parameter)
        groups = [{"params": found, "lr": rate, "largest": rate} for rate, found in rates.items()]
        if settings.optimizer == "sgd":
            return optim.SGD(groups, momentum=settings.momentum, weight_decay=settings.weight_decay)
        return optim.AdamW(groups, weight_decay=settings.weight_decay)

    def _restore_optimizer(self) -> None:
        """Give the optimiser the moments that the site kept, where the parameter had any."""
        for key, tensor in self.memory.items():
            kind, _, rest = key.partition("|")
            moment, _, name = rest.partition("|")
            if kind == _OPTIMIZER and name in self.parameters:
                self.optimizer.state[self.parameters[name]][moment] = tensor.clone()

    def _keep_optimizer(self) -> None:
        if not self.settings.keep_optimizer:
            return
        for name, parameter in self.parameters.items():
            for key, value in self.optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor):
                    self.kept[f"{_OPTIMIZER}|{key}|{name}"] = value.detach().clone()


def own_arrays(memory: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give what stands for the coordinator's weights at this site."""
    return {name.removeprefix(OWN): value for name, value in memory.items() if name.startswith(OWN)}
