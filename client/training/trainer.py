"""Answers a coordinator's orders of fine-tuning for a site."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from client.site import Site
from client.training.augmentation import Augmentation, strengths_of
from client.training.feed import KeptFeed, PixelFeed
from client.training.keep import Keep
from client.training.local import Batches, LocalTraining, own_arrays
from client.training.loss import LossSettings
from client.training.predictions import predict_images
from client.training.rules import make_rule
from client.training.rules.base import OWN
from client.training.sampling import draw_batches, shuffled_batches
from common.errors import ContributionError, TrainingError
from common.evaluation import evaluation_sums
from common.finetuning.balance import class_shifts, class_weights, site_share
from common.finetuning.network import (
    build_network,
    read_tensors,
    write_tensors,
)
from common.finetuning.order import Order, Update
from common.finetuning.plan import Place, parse_plan, place_of
from common.finetuning.strategies import read_strategy, strategy_kind, training_of
from common.finetuning.travel import Travel
from common.learners.base import Arrays, Contribution
from common.settings import RunSettings
from common.split import Split

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray


class Trainer:
    """Trains and predicts for a site; keeps the network and what it fed between messages.

    Parameters
    ----------
    site : Site
        The site.
    settings : RunSettings
        The run.
    states : Path
        Folder of what sites keep between rounds.
    """

    def __init__(self, site: Site, settings: RunSettings, states: Path) -> None:
        self.site, self._run = site, settings
        self._settings = training_of(settings.strategy, settings.training)
        self._kind = strategy_kind(settings.strategy)
        self._strategy = read_strategy(settings.strategy, settings.strategy_settings)
        self._plan = parse_plan(self._settings.plan, site.backbone.stages)
        self._states = states
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._precision = precision_of(self._settings.precision, self._device)
        self._members = np.flatnonzero(site.member(Split.TRAIN))
        self._feeds: dict[int, PixelFeed | KeptFeed] = {}
        self.network = build_network(site.backbone, len(site.classes)).to(self._device)
        self._pretrained = read_tensors(self._everything())

    def travel(self, number: int) -> Travel:
        """Tell what travels in a round, from 1; in an evaluation, also from 0."""
        place = place_of(self._plan, max(number, 1))
        return Travel(self.network, place.phase.depth, self._settings.norm, self._run.strategy)

    def finetune(self, order: Order, arrays: Arrays) -> Update:
        """Train for a round.

        Parameters
        ----------
        order : Order
            The round.
        arrays : mapping of str to ndarray
            The coordinator's, of the specification that `travel` gives.

        Raises
        ------
        ContributionError
            If the site has no training image, or the round is over fewer than the policy's minimum.
        StateError
            If what the site kept is not there.
        TrainingError
            If the loss is not finite.
        """
        if not len(self._members):
            raise ContributionError(f"site {self.site.name}: has no training image")
        place, travel = place_of(self._plan, order.round), self.travel(order.round)
        keep = Keep(self._states, order.run, self.site.name)
        memory = {name: self._tensor(a) for name, a in keep.load(order.state_round).items()}
        self._load(
            {n: a for n, a in arrays.items() if n not in travel.companions}, memory, train=True
        )
        counts = np.array(order.class_counts, dtype=np.int64)
        batches = self._batches(order, place, counts)
        self._refuse_few(batches)
        training = LocalTraining(
            self.network,
            place,
            self._settings,
            self._loss(counts),
            self._feed(place, keep, len(self._members)),
            batches,
            companions={n: self._tensor(a) for n, a in arrays.items() if n in travel.companions},
            memory=memory,
            precision=self._precision,
            device=self._device,
        )
        trained = training.run(make_rule(self._run.strategy, self._strategy))
        kept = dict(trained.kept)
        kept.update({OWN + n: t for n, t in trained.weights.items() if n not in travel.weights})
        keep.save(order.round, read_tensors(kept), (order.state_round, order.best_round))
        sent = {n: t for n, t in trained.weights.items() if n in travel.weights}
        return Update(read_tensors({**sent, **trained.companions}), trained.steps, trained.loss)

    def judge(self, order: Order, arrays: Arrays) -> Contribution:
        """Sum over one part of the split: the results of weights, with what the site has itself.

        Raises
        ------
        TrainingError
            If the weights give no probabilities.
        """
        site = self.site
        rows = np.flatnonzero(site.member(order.part))
        probabilities = self.predict(order, arrays, rows)
        if not np.isfinite(probabilities).all():
            raise TrainingError(
                f"site {site.name}: the weights of round {order.round} give probabilities that are "
                "not finite: training went astray; lower lr, or set clip"
            )
        draws = self._run.draws if order.part is Split.TEST else 0
        return evaluation_sums(
            site.y[rows],
            probabilities,
            site.disclosure,
            malignant=np.isin(site.classes, site.malignant) if site.malignant else None,
            weights=site.resamples(draws, arrays) if order.part is Split.TEST else None,
        )

    def predict(self, order: Order, arrays: Arrays, rows: NDArray[np.intp]) -> NDArray[np.float64]:
        """Give probabilities, shape (n, classes), of some of the site's images."""
        kept = Keep(self._states, order.run, self.site.name).load(order.state_round)
        self._load(arrays, {name: self._tensor(a) for name, a in kept.items()}, train=False)
        self.network.eval()
        return predict_images(
            self.network,
            self.site.pixels,
            rows,
            flip_average=self._settings.flip_average,
            device=self._device,
        )

    def _load(self, arrays: Arrays, memory: Mapping[str, Tensor], *, train: bool) -> None:
        """Give the network the pretrained weights, the coordinator's, and the site's own."""
        everything = self._everything()
        write_tensors(everything, self._pretrained)
        write_tensors(everything, arrays)
        if train and not self._kind.starts_from_own:
            return
        own = {name: tensor.cpu().numpy() for name, tensor in own_arrays(memory).items()}
        write_tensors(everything, own)

    def _everything(self) -> dict[str, Tensor]:
        state = self.network.state_dict(keep_vars=True)
        return {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}

    def _tensor(self, array: NDArray[np.float32]) -> Tensor:
        return torch.from_numpy(array.copy()).to(self._device)

    def _batches(self, order: Order, place: Place, counts: NDArray[np.int64]) -> Batches:
        settings, y = self._settings, self.site.y[self._members]
        name = int.from_bytes(blake2b(self.site.name.encode(), digest_size=8).digest(), "big")
        rng = np.random.default_rng([self._run.seed, order.round, name])
        batch = settings.batch or len(y)
        if settings.batch and settings.share_batch:
            own = np.bincount(y, minlength=len(counts))
            batch = max(1, round(batch * site_share(own, counts, settings.sampling_power)))
        steps = settings.steps
        if settings.epochs:
            steps = max(1, round(settings.epochs * len(y) / batch))
        if settings.balance == "sampling":
            weights = class_weights(counts, settings.balance_power)
            rows = draw_batches(y, weights, steps=steps, batch=batch, rng=rng)
        else:
            rows = shuffled_batches(len(y), steps=steps, batch=batch, rng=rng)
        seeds = rng.integers(0, 2**62, size=rows.shape)
        if settings.views and place.phase.depth < len(self.network.trunk):
            seeds = rows * settings.views + seeds % settings.views
        return Batches(rows, seeds, y, int(rng.integers(2**62)))

    def _refuse_few(self, batches: Batches) -> None:
        """Refuse a round whose weights would follow a few images."""
        images, minimum = len(np.unique(batches.rows)), self.site.disclosure.minimum
        if images < minimum:
            raise ContributionError(
                f"site {self.site.name}: a round of {len(batches.rows)} steps is over {images} "
                f"images, fewer than its minimum of {minimum}; raise steps or batch"
            )

    def _loss(self, counts: NDArray[np.int64]) -> LossSettings:
        settings = self._settings
        weights = shifts = None
        if settings.balance == "weights":
            weights = tuple(class_weights(counts, settings.balance_power).tolist())
        if settings.logit_adjust:
            power = 0.0 if settings.balance == "none" else settings.balance_power
            shifts = tuple(class_shifts(counts, power, settings.logit_adjust).tolist())
        return LossSettings(
            settings.label_smoothing, settings.focal_gamma, settings.mixup, weights, shifts
        )

    def _feed(self, place: Place, keep: Keep, images: int) -> PixelFeed | KeptFeed:
        depth, settings = place.phase.depth, self._settings
        if depth not in self._feeds:
            fresh = PixelFeed(
                self.site.pixels,
                self._members,
                Augmentation(strengths_of(settings)),
                self.network,
                depth,
                precision=self._precision,
                device=self._device,
            )
            keeps = settings.views and depth < len(self.network.trunk)
            path = keep.activations(depth)
            feed = KeptFeed(fresh, path, images, settings.views) if keeps else fresh
            # A phase is over when the next one begins.
            self._feeds = {depth: feed}
        return self._feeds[depth]


def precision_of(wanted: str, device: str) -> torch.dtype:
    """Choose what products are computed in; ``auto`` takes bfloat16 where that is faster."""
    if wanted == "auto":
        fast = device == "cuda" or torch.cpu._is_amx_tile_supported()
        return torch.bfloat16 if fast else torch.float32
    return torch.bfloat16 if wanted == "bfloat16" else torch.float32
