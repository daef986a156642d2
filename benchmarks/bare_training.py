"""A bare PyTorch loop that takes the gradient steps of a fine-tuning run, and does nothing else.

Sites train in turn on one network, each with its own optimiser, and their weights are averaged in
memory after each round. Nothing is sent, checked or kept on disk. What decides on the steps is
written out anew; of the product are the network, the views and the draws, which must be the same.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from client.site import Site
from client.training.augmentation import Augmentation, strengths_of
from client.training.loss import LossSettings, classification_loss
from client.training.sampling import draw_batches
from client.training.schedule import share_of_rate
from client.training.trainer import precision_of
from common.finetuning.balance import class_shifts, class_weights, site_share
from common.finetuning.network import build_network, read_tensors, write_tensors
from common.finetuning.plan import parse_plan
from common.finetuning.settings import read_training
from common.learners.base import Arrays
from common.split import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class _Share:
    """What a site trains on, in memory: uint8 images (n, height, width, 3), labels, its share."""

    name: str
    images: Tensor
    y: NDArray[np.intp]
    share: float


def class_counts(sites: list[Site]) -> dict[str, NDArray[np.int64]]:
    """Count each site's training images of each class."""
    return {
        site.name: np.bincount(site.y[site.member(Split.TRAIN)], minlength=len(site.classes))
        for site in sites
    }


class BareTraining:
    """FedAvg of all stages, with AdamW on balanced batches.

    Parameters
    ----------
    sites : list of Site
        The sites; their training images are decoded here.
    training : str
        ``"key=value key=value"`` of `common.finetuning.settings.TrainingSettings`: the plan has one
        phase, of all stages; otherwise steps, batch, rates, views and precision may be set.
    seed : int
        The run's.
    head : mapping of str to ndarray
        The classifier to begin with.
    """

    def __init__(self, sites: list[Site], training: str, seed: int, head: Arrays) -> None:
        self._settings, self._seed = read_training(training), seed
        settings, backbone = self._settings, sites[0].backbone
        (self._phase,) = parse_plan(settings.plan, backbone.stages)
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._precision = precision_of(settings.precision, self._device)
        self._network = build_network(backbone, len(sites[0].classes)).to(self._device)
        write_tensors(dict(self._network.state_dict(keep_vars=True)), head)
        self._parameters = list(self._network.parameters())
        self._augmentation = Augmentation(strengths_of(settings))
        self._transform = backbone.transform
        counts = class_counts(sites)
        total = np.sum(list(counts.values()), axis=0)
        shifts = class_shifts(total, settings.balance_power, settings.logit_adjust)
        self._loss = LossSettings(
            settings.label_smoothing, settings.focal_gamma, 0.0, None, tuple(shifts.tolist())
        )
        self._weights = class_weights(total, settings.balance_power)
        self._optimizers = [self._new_optimizer() for _ in sites]
        self._sites = []
        for site in sites:
            members = np.flatnonzero(site.member(Split.TRAIN))
            images = torch.from_numpy(site.pixels.take(members))
            share = site_share(counts[site.name], total, settings.balance_power)
            self._sites.append(_Share(site.name, images, site.y[members], share))

    def run(self) -> tuple[list[float], Arrays]:
        """Train; give the seconds of each round, and the weights after the last."""
        seconds = []
        for number in range(self._phase.rounds):
            begin = time.perf_counter()
            self._round(number)
            if self._device == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - begin)
        return seconds, read_tensors(dict(self._network.named_parameters()))

    def _round(self, number: int) -> None:
        before = [p.detach().clone() for p in self._parameters]
        after = [torch.zeros_like(p) for p in before]
        for site, optimizer in zip(self._sites, self._optimizers, strict=True):
            self._set(before)
            rows, seeds = self._draw(site, number)
            for step in range(self._settings.steps):
                progress = (number + step / self._settings.steps) / self._phase.rounds
                rate = share_of_rate(progress, self._settings)
                self._step(site, optimizer, rows[step], seeds[step], rate)
            for mean, p in zip(after, self._parameters, strict=True):
                mean.add_(p.detach(), alpha=site.share)
        self._set(after)

    def _step(
        self,
        site: _Share,
        optimizer: torch.optim.Optimizer,
        rows: NDArray[np.intp],
        seeds: NDArray[np.int64],
        rate: float,
    ) -> None:
        views = self._augmentation(site.images[rows].permute(0, 3, 1, 2), seeds.tolist())
        x = self._transform.normalise(views.to(self._device).float().div_(255))
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self._device, self._precision, self._precision != torch.float32):
            logits = self._network(x.contiguous(memory_format=torch.channels_last))
        target = torch.from_numpy(site.y[rows]).to(self._device)
        classification_loss(logits, target, self._loss).backward()  # type: ignore[no-untyped-call]
        if self._settings.clip:
            nn.utils.clip_grad_norm_(self._parameters, self._settings.clip)
        for group in optimizer.param_groups:
            group["lr"] = group["largest"] * rate
        optimizer.step()

    def _draw(self, site: _Share, number: int) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Draw the images of a site's round, and the seeds of their views."""
        digest = int.from_bytes(blake2b(site.name.encode(), digest_size=8).digest(), "big")
        rng = np.random.default_rng([self._seed, number + 1, digest])
        batch = max(1, round(self._settings.batch * site.share))
        steps = self._settings.steps
        rows = draw_batches(site.y, self._weights, steps=steps, batch=batch, rng=rng)
        return rows, rng.integers(0, 2**62, size=rows.shape)

    def _new_optimizer(self) -> torch.optim.Optimizer:
        parts = (
            (self._network.trunk, self._settings.lr),
            (self._network.classifier, self._settings.head_lr),
        )
        groups = [{"params": list(part.parameters()), "largest": rate} for part, rate in parts]
        return torch.optim.AdamW(groups, weight_decay=self._settings.weight_decay)

    def _set(self, values: list[Tensor]) -> None:
        with torch.no_grad():
            for p, value in zip(self._parameters, values, strict=True):
                p.copy_(value)
