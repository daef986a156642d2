"""Settings of local training: what ``--train key=value`` accepts, the same at every site."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from common.learners.settings import check_settings, parse_assignments


class TrainingSettings(BaseModel):
    """How a site trains in a round.

    Attributes
    ----------
    plan : str
        Depths and rounds, as `common.finetuning.plan.parse_plan` reads them.
    steps : int
        Steps of the optimiser that every site takes in a round.
    epochs : float
        Instead of `steps`, unless 0: passes over the site's own images, so that larger sites take
        more steps.
    batch : int
        Images of a step; 0 for all of a site's.
    share_batch : bool
        Whether `batch` is that of all sites together, each having its share of it; otherwise it
        is each site's own.
    optimizer : str
        ``adamw`` or ``sgd``.
    lr, head_lr : float
        Largest learning rate of the trunk's last stage, and of the classifier.
    stage_decay : float
        What the learning rate is multiplied by for each stage further down.
    weight_decay, momentum : float
        Of AdamW, and of SGD.
    schedule : str
        ``one-cycle`` (warm-up, then down to zero along a cosine, in each phase of the plan) or
        ``constant``.
    warm_up : float
        Share of a phase in which the learning rate rises.
    keep_optimizer : bool
        Whether an optimiser's moments stay at the site between rounds.
    norm : str
        BatchNorm: ``frozen`` statistics of the pretraining; ``local`` statistics, scales and
        shifts, which never leave the site; ``aggregated`` ones.
    balance : str
        Against imbalance: balanced ``sampling``, class ``weights`` in the loss, or ``none``.
    balance_power : float
        A class of n images, over all sites, counts n to the power of 1 minus this.
    logit_adjust : float
        How much of the imbalance that is left is taken out of the logits: 1 for all of it.
    focal_gamma : float
        Of the focal loss; 0 for cross-entropy.
    label_smoothing, mixup : float
        Share of the target spread over all classes; parameter of MixUp's Beta distribution, 0 for
        none.
    ema : float
        Weight of what came before in the mean over rounds that is evaluated and kept; 0 for the
        last round's weights.
    clip : float
        Largest norm of a step's gradient; 0 for any.
    flips : bool
        Mirror images at random, both ways.
    rotation, shift, zoom : float
        Largest turn in degrees; largest shift and change of scale, as shares.
    brightness, contrast, saturation, hue, elastic : float
        Strengths of changes; 0 for none.
    flip_average : bool
        Average an image's logits with those of its mirror image when predicting.
    precision : str
        ``float32``, ``bfloat16``, or ``auto`` for the faster of them on the machine.
    views : int
        Augmented views of each image whose activations at the frozen stages' end are kept, so
        that these stages run once a view; 0 for a fresh view each time.
    validate_every : int
        Rounds from one validation to the next; the first, as the run begins, and the last round
        of the plan are always validated. Only a validated round can be the best.
    patience : int
        Rounds without a better validation after which a run ends; 0 for the whole plan.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    plan: str = "all:20"
    steps: int = Field(25, ge=1, le=100_000)
    epochs: float = Field(0.0, ge=0.0, le=1000.0)
    batch: int = Field(32, ge=0, le=4096)
    share_batch: bool = True
    optimizer: Literal["adamw", "sgd"] = "adamw"
    lr: float = Field(2e-4, gt=0.0)
    head_lr: float = Field(2e-4, gt=0.0)
    stage_decay: float = Field(1.0, gt=0.0, le=1.0)
    weight_decay: float = Field(0.01, ge=0.0)
    momentum: float = Field(0.9, ge=0.0, lt=1.0)
    schedule: Literal["one-cycle", "constant"] = "one-cycle"
    warm_up: float = Field(0.1, ge=0.0, lt=1.0)
    keep_optimizer: bool = True
    norm: Literal["frozen", "local", "aggregated"] = "frozen"
    balance: Literal["sampling", "weights", "none"] = "sampling"
    balance_power: float = Field(0.75, ge=0.0, le=1.0)
    logit_adjust: float = Field(1.0, ge=0.0, le=2.0)
    focal_gamma: float = Field(0.0, ge=0.0, le=10.0)
    label_smoothing: float = Field(0.1, ge=0.0, lt=1.0)
    mixup: float = Field(0.0, ge=0.0, le=10.0)
    ema: float = Field(0.0, ge=0.0, lt=1.0)
    clip: float = Field(1.0, ge=0.0)
    flips: bool = True
    rotation: float = Field(180.0, ge=0.0, le=180.0)
    shift: float = Field(0.05, ge=0.0, lt=1.0)
    zoom: float = Field(0.15, ge=0.0, lt=1.0)
    brightness: float = Field(0.15, ge=0.0, lt=1.0)
    contrast: float = Field(0.15, ge=0.0, lt=1.0)
    saturation: float = Field(0.1, ge=0.0, lt=1.0)
    hue: float = Field(0.02, ge=0.0, le=0.5)
    elastic: float = Field(0.0, ge=0.0)
    flip_average: bool = True
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    views: int = Field(0, ge=0, le=64)
    validate_every: int = Field(1, ge=1)
    patience: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _views_go_with_frozen_norms(self) -> Self:
        if self.views and self.mixup:
            raise ValueError("views keeps activations of images, so it does not go with mixup")
        return self

    @property
    def sampling_power(self) -> float:
        """The power that sampling balances by: 0 where it does not."""
        return self.balance_power if self.balance == "sampling" else 0.0


def read_training(text: str) -> TrainingSettings:
    """Read ``"key=value key=value"``; what is not named has its default.

    Raises
    ------
    SettingsError
        If a setting is unknown or out of bounds.
    """
    return check_settings(TrainingSettings, parse_assignments(text, "training"), "training")


def write_training(settings: TrainingSettings) -> str:
    """Write every setting, as `read_training` reads them."""
    return " ".join(f"{name}={value}" for name, value in settings.model_dump().items())
