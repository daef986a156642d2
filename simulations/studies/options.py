"""What a study is run with, checked before any work is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from common.backbones import Backbone, get_backbone
from common.cohort import Cohort
from common.errors import StudyError
from common.finetuning.plan import parse_plan
from common.finetuning.settings import read_training, write_training
from common.finetuning.strategies import read_strategy, training_of
from common.imbalance import read_treatment
from common.learners import make_learner
from common.learners.base import Problem
from common.metadata import read_fusion
from common.split import TURNS
from simulations.studies.base import Plan
from simulations.studies.compare import resampling
from simulations.studies.fit import BASELINE, Fit

MOST_VIEWS = 64


@dataclass(frozen=True)
class StudyOptions:
    """The user's choices.

    Attributes
    ----------
    cohort : Path
        Folder or manifest, absolute.
    out : Path
        The study's folder, absolute.
    cache : Path
        Feature cache.
    learners : tuple of str
        Each with its settings; empty for the study's own choice.
    split_seeds : tuple of int
        Repetitions.
    draws : int
        Resamples behind each interval.
    seed : int
        Of drawn partitions and of the resamples.
    backbone : str
        Name of a backbone.
    partitions : tuple of str
        For the heterogeneity study.
    images_per_site : tuple of int
        For the learning curve.
    imbalance : str
        Treatment of imbalance of every head, as `common.imbalance.read_treatment` reads it.
    metadata : str
        What every head sees beside the image features, as `common.metadata.read_fusion` reads it;
        of the study of fusion, its early fusion.
    training : str
        ``"key=value key=value"`` of `common.finetuning.settings.TrainingSettings`.
    local : bool
        Whether a study of fine-tuning also lets each site fine-tune alone.
    skip_unreadable : bool
        Leave unreadable images out instead of failing.
    backbones, treatments, turns, views, strategies
        For the comparison, as `simulations.studies.base.Plan`.
    """

    cohort: Path
    out: Path
    cache: Path
    learners: tuple[str, ...] = ()
    split_seeds: tuple[int, ...] = (1, 2, 3)
    draws: int = 1000
    seed: int = 0
    backbone: str = "efficientnet_lite0"
    partitions: tuple[str, ...] = ()
    images_per_site: tuple[int, ...] = ()
    imbalance: str = ""
    metadata: str = ""
    training: str = ""
    local: bool = True
    skip_unreadable: bool = False
    backbones: tuple[str, ...] = ()
    treatments: tuple[str, ...] = ()
    turns: int = 1
    views: tuple[int, ...] = (0,)
    strategies: tuple[str, ...] = ()

    def check(self, *, tunes: bool = False) -> None:
        """Refuse what cannot be run.

        Parameters
        ----------
        tunes : bool
            Whether learners are strategies of fine-tuning.

        Raises
        ------
        SettingsError
            If a learner, a strategy or the backbone is unknown, or a setting is out of bounds.
        StudyError
            If seeds, draws or limits are out of bounds, or something stands twice.
        """
        backbone = get_backbone(self.backbone)
        self._check_comparison()
        self._check_imbalance(tunes=tunes)
        self._check_metadata(tunes=tunes)
        read_training(self.training)
        if tunes:
            self._check_tuning(backbone, self.learners)
        else:
            for learner in self.learners:
                # The number of classes does not matter to any check.
                name, _, settings = learner.partition(" ")
                make_learner(name, Problem(("a", "b"), backbone.dimension), settings)
        if not self.split_seeds or min(self.split_seeds) < 0:
            raise StudyError("--split-seed: give one or more whole numbers from 0")
        if self.draws < 0:
            raise StudyError("--draws: must be 0 (no intervals) or more")
        if self.images_per_site and min(self.images_per_site) < 1:
            raise StudyError("--images-per-site: must be 1 or more")
        for option, values in (
            ("--learner", self.learners),
            ("--split-seed", self.split_seeds),
            ("--partition", self.partitions),
            ("--images-per-site", self.images_per_site),
            ("--backbone", self.backbones),
            ("--imbalance", self.treatments),
            ("--views", self.views),
            ("--strategy", self.strategies),
        ):
            if len(set(values)) != len(values):
                raise StudyError(f"{option}: a value stands twice; give it once")

    def _check_comparison(self) -> None:
        for name in self.backbones:
            get_backbone(name)
        for treatment in self.treatments:
            resampling(treatment)
        if not 1 <= self.turns <= TURNS:
            raise StudyError(f"--turns: must be from 1 to {TURNS}")
        if min(self.views) < 0 or max(self.views) > MOST_VIEWS:
            raise StudyError(f"--views: must be from 0 to {MOST_VIEWS}")
        for name in self.tuned:
            self._check_tuning(get_backbone(name), self.strategies)
        if self.strategies and not self.tuned:
            raise StudyError(
                f"--strategy: no backbone of {', '.join(self.backbones)} has stages that can be "
                "fine-tuned; name one that has, as efficientnet_lite0"
            )

    @property
    def tuned(self) -> tuple[str, ...]:
        """The backbones that ``strategies`` fine-tune: features of some are only frozen."""
        names = self.backbones if self.strategies else ()
        return tuple(name for name in names if get_backbone(name).stages)

    def _check_tuning(self, backbone: Backbone, strategies: Sequence[str]) -> None:
        if not backbone.stages:
            raise StudyError(
                f"backbone {backbone.name}: has no stages, so it is not fine-tuned; leave it out"
            )
        parse_plan(read_training(self.training).plan, backbone.stages)
        for strategy in strategies:
            name, _, settings = strategy.partition(" ")
            training_of(name, self.training)
            read_strategy(name, settings)

    def _check_imbalance(self, *, tunes: bool) -> None:
        if read_treatment(self.imbalance).text and tunes:
            raise StudyError("--imbalance is for heads; leave it out of studies of fine-tuning")

    def _check_metadata(self, *, tunes: bool) -> None:
        fusion = read_fusion(self.metadata)
        if fusion.width and tunes:
            raise StudyError("--metadata is for heads; leave it out of studies of fine-tuning")
        if fusion.width and (fusion.kind != "early" or fusion.sites):
            raise StudyError(
                f"--metadata {fusion.text}: give early, with a scale or columns; the study fusion "
                "compares it with late, with metadata alone and with the site"
            )

    def treated(self, fits: Sequence[Fit], *, fused: bool = False) -> list[Fit]:
        """Give the fits as every head is to be learned; baselines look at no image.

        Parameters
        ----------
        fits : sequence of Fit
            The study's.
        fused : bool
            Whether it has set its fits' metadata itself.
        """
        imbalance, metadata = read_treatment(self.imbalance).text, read_fusion(self.metadata).text
        return [
            fit
            if fit.learner == BASELINE
            else replace(
                fit,
                imbalance=imbalance or fit.imbalance,
                metadata=fit.metadata if fused else metadata,
            )
            for fit in fits
        ]

    def plan(self, cohort: Cohort, learners: tuple[str, ...]) -> Plan:
        """Make the study's plan for a cohort; `learners` are its own choice.

        Raises
        ------
        StudyError
            If the cohort has fewer than two sites.
        """
        if not cohort.sites_known or len(cohort.sites) < 2:
            raise StudyError(
                f"{cohort.root}: a study needs two acquisition sites or more; give a cohort whose "
                "table has a site column"
            )
        return Plan(
            sites=cohort.sites,
            learners=self.learners or learners,
            split_seeds=self.split_seeds,
            seed=self.seed,
            partitions=self.partitions,
            images_per_site=self.images_per_site,
            # Whole, so that a fit of other defaults is another fit.
            training=write_training(read_training(self.training)),
            local=self.local,
            backbones=self.backbones or (self.backbone,),
            treatments=self.treatments,
            turns=self.turns,
            views=self.views,
            strategies=self.strategies,
            tuned=self.tuned,
            metadata=read_fusion(self.metadata).text,
            largest=max(int((cohort.site == site).sum()) for site in cohort.sites),
        )

    def shown(self, learners: tuple[str, ...]) -> dict[str, Any]:
        """Give the settings for ``result.json``."""
        values = asdict(self)
        del values["out"], values["cache"]
        return {**values, "cohort": str(self.cohort), "learners": list(self.learners or learners)}
