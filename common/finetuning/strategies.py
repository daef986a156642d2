"""The strategies of fine-tuning by name: their settings, and what coordinator and sites share.

What the coordinator does is a file of `server.strategies`, what a site does a file of
`client.training.rules`; both have the names of this list.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from common.errors import SettingsError
from common.finetuning.settings import TrainingSettings, read_training
from common.learners.settings import check_settings, parse_assignments

CLASSIFIER = "classifier."
# Adam's, as PyTorch names them; the second is of squares.
MOMENTS = ("exp_avg", "exp_avg_sq")


class StrategySettings(BaseModel):
    """A strategy without settings."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class MomentumSettings(StrategySettings):
    """FedAvgM (Hsu et al., 2019): the coordinator's learning rate and momentum."""

    server_lr: float = Field(1.0, gt=0.0)
    server_momentum: float = Field(0.5, ge=0.0, lt=1.0)


class ProximalSettings(StrategySettings):
    """FedProx (Li et al., MLSys 2020): weight of half the squared distance from the global."""

    mu: float = Field(0.01, ge=0.0)


class AdaptiveSettings(StrategySettings):
    """FedAdam, FedYogi (Reddi et al., ICLR 2021): rate, decays and degree of adaptivity.

    An entry moves by at most about `eta` in a round.
    """

    eta: float = Field(1e-3, gt=0.0)
    beta_1: float = Field(0.9, ge=0.0, lt=1.0)
    beta_2: float = Field(0.99, ge=0.0, lt=1.0)
    tau: float = Field(1e-3, gt=0.0)


class AdagradSettings(StrategySettings):
    """FedAdagrad (Reddi et al., ICLR 2021): rate and degree of adaptivity."""

    eta: float = Field(1e-3, gt=0.0)
    tau: float = Field(1e-3, gt=0.0)


class FairSettings(StrategySettings):
    """q-FedAvg (Li et al., ICLR 2020): power of a site's loss; 0 is the plain mean over sites.

    `lipschitz_lr` stands for the inverse of the loss's Lipschitz constant.
    """

    q: float = Field(0.2, ge=0.0)
    lipschitz_lr: float = Field(1.0, gt=0.0)


class TrimmedSettings(StrategySettings):
    """Trimmed mean (Yin et al., ICML 2018): share of sites left out at either end."""

    beta: float = Field(0.25, ge=0.0, lt=0.5)


class KrumSettings(StrategySettings):
    """Krum (Blanchard et al., NeurIPS 2017): how many sites may be hostile."""

    hostile: int = Field(0, ge=0)


class RepresentationSettings(StrategySettings):
    """FedRep (Collins et al., ICML 2021): share of a round's steps that train the head alone."""

    head_share: float = Field(0.25, gt=0.0, lt=1.0)


class DittoSettings(StrategySettings):
    """Ditto (Li et al., ICML 2021): how strongly a site's own model is held to the global one."""

    strength: float = Field(0.1, ge=0.0)


class ContrastiveSettings(StrategySettings):
    """MOON (Li, He & Song, CVPR 2021): weight and temperature of the contrast of features."""

    mu: float = Field(1.0, ge=0.0)
    temperature: float = Field(0.5, gt=0.0)


class SharpnessSettings(StrategySettings):
    """Gradual sharpness-aware training: largest radius, reached along a line.

    SAM's step (Foret et al., ICLR 2021), local as in FedSAM (Qu et al., ICML 2022), with a radius
    that grows from 0 in the phase's first round to `rho` after the share `ramp` of it.
    """

    rho: float = Field(0.05, ge=0.0)
    ramp: float = Field(0.5, ge=0.0, le=1.0)


@dataclass(frozen=True)
class StrategyKind:
    """What coordinator and sites must both know of a strategy.

    Attributes
    ----------
    settings : type
        Its settings.
    sees_sites : bool
        Whether the coordinator must look at each site's weights, where a sum is not enough.
    companions : tuple of str
        Names of what travels beside each trained array, in its shape: ``NAME|array``.
    personal_head : bool
        Whether the classifier stays at its site.
    starts_from_own : bool
        Whether a site trains what is its own; otherwise it predicts with that alone.
    norm : str
        What the strategy makes of `TrainingSettings.norm`; empty to leave it.
    """

    settings: type[StrategySettings]
    sees_sites: bool = False
    companions: tuple[str, ...] = ()
    personal_head: bool = False
    starts_from_own: bool = True
    norm: str = ""

    def travels(self, name: str) -> bool:
        """Tell whether a trained array leaves its site."""
        return not (self.personal_head and name.startswith(CLASSIFIER))


STRATEGIES: Mapping[str, StrategyKind] = {
    "fedavg": StrategyKind(StrategySettings),
    "fedavgm": StrategyKind(MomentumSettings),
    "fedprox": StrategyKind(ProximalSettings),
    "fedadam": StrategyKind(AdaptiveSettings),
    "fedyogi": StrategyKind(AdaptiveSettings),
    "fedadagrad": StrategyKind(AdagradSettings),
    "qfedavg": StrategyKind(FairSettings, sees_sites=True),
    "trimmed-mean": StrategyKind(TrimmedSettings, sees_sites=True),
    "median": StrategyKind(StrategySettings, sees_sites=True),
    "krum": StrategyKind(KrumSettings, sees_sites=True),
    "scaffold": StrategyKind(StrategySettings, companions=("control",)),
    "fedbn": StrategyKind(StrategySettings, norm="local"),
    "fedper": StrategyKind(StrategySettings, personal_head=True),
    "fedrep": StrategyKind(RepresentationSettings, personal_head=True),
    "ditto": StrategyKind(DittoSettings, starts_from_own=False),
    "fednova": StrategyKind(StrategySettings, sees_sites=True),
    "moon": StrategyKind(ContrastiveSettings),
    "gradual-sam": StrategyKind(SharpnessSettings),
    "shared-moments": StrategyKind(StrategySettings, companions=MOMENTS),
}


def strategy_kind(name: str) -> StrategyKind:
    """Look a strategy up.

    Raises
    ------
    SettingsError
        If there is none of this name.
    """
    if name not in STRATEGIES:
        known = ", ".join(STRATEGIES)
        raise SettingsError(f"strategy {name!r} is unknown; choose one of: {known}")
    return STRATEGIES[name]


def read_strategy(name: str, text: str) -> StrategySettings:
    """Read a strategy's settings from ``"key=value key=value"``.

    Raises
    ------
    SettingsError
        If the strategy or a setting is unknown or out of bounds.
    """
    return check_settings(
        strategy_kind(name).settings, parse_assignments(text, "strategy"), "strategy"
    )


def training_of(strategy: str, training: str) -> TrainingSettings:
    """Read the settings of local training, with what the strategy makes of them.

    Raises
    ------
    SettingsError
        If the strategy or a setting is unknown or out of bounds.
    """
    settings, kind = read_training(training), strategy_kind(strategy)
    norm = kind.norm
    if kind.companions == MOMENTS and settings.optimizer != "adamw":
        raise SettingsError(
            f"training setting optimizer: {settings.optimizer} has no moments that {strategy} "
            "could share; use adamw, or fedavg"
        )
    if strategy == "ditto" and settings.norm == "local":
        raise SettingsError("training setting norm: local norms are not for ditto; see fedbn")
    return settings.model_copy(update={"norm": norm}) if norm else settings
