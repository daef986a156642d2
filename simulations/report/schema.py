"""What ``result.json`` of a study holds, checked on reading."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

# Value, low and high end of the interval; None for "no value".
Triple = tuple[FiniteFloat | None, FiniteFloat | None, FiniteFloat | None]
NO_VALUE: Triple = (None, None, None)
Count = Annotated[int, Field(ge=0)]

StudyName = Literal[
    "leave-one-site-out",
    "cross-site",
    "heterogeneity",
    "fairness",
    "fusion",
    "learning-curve",
    "simulate",
    "finetune",
    "fine-tuning",
    "fine-tuning-left-out",
    "compare",
]
COVERAGES = 20
RELIABILITY_BINS = 15


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Settings(_Part):
    """What the study was asked to do."""

    cohort: str
    learners: tuple[str, ...] = Field(min_length=1)
    split_seeds: tuple[int, ...] = Field(min_length=1)
    draws: Count
    seed: int
    backbone: str
    backbones: tuple[str, ...] = ()
    treatments: tuple[str, ...] = ()
    turns: Count = 0
    imbalance: str = ""
    metadata: str = ""

    @property
    def backbones_used(self) -> tuple[str, ...]:
        """Every backbone of the study."""
        return self.backbones or (self.backbone,)


class SiteCount(_Part):
    """A site's images, lesions, and images of each class."""

    images: Count
    lesions: Count
    classes: dict[str, Count]


class CohortCount(_Part):
    """The cohort that was studied."""

    name: str
    images: Count
    lesions: Count
    classes: tuple[str, ...] = Field(min_length=2)
    malignant: tuple[str, ...] = ()
    sites: dict[str, SiteCount]


class Reliability(_Part):
    """Mean confidence, accuracy and images by bin of confidence."""

    confidence: list[FiniteFloat | None] = Field(
        min_length=RELIABILITY_BINS, max_length=RELIABILITY_BINS
    )
    accuracy: list[Triple] = Field(min_length=RELIABILITY_BINS, max_length=RELIABILITY_BINS)
    images: list[FiniteFloat] = Field(min_length=RELIABILITY_BINS, max_length=RELIABILITY_BINS)


class Curves(_Part):
    """Error rate by coverage (0.05, 0.10, ... 1.00) and the reliability curve."""

    risk: list[Triple] = Field(min_length=COVERAGES, max_length=COVERAGES)
    reliability: Reliability


class Cell(_Part):
    """One model under one condition, measured on one group of test images."""

    learner: str
    model: str
    condition: str
    about: dict[str, Any] = {}
    by: str
    group: str
    images: list[Count]
    lesions: Count
    class_lesions: dict[str, Count]
    absent: tuple[str, ...] = ()
    metrics: dict[str, Triple]
    by_seed: dict[str, list[FiniteFloat | None]] = {}
    confusion: list[list[Count]] | None = None
    curves: Curves | None = None


class Fairness(_Part):
    """How unequal a metric is over the groups of one attribute."""

    learner: str
    model: str
    condition: str
    by: str
    metric: str
    worst_group: str | None = None
    worst: Triple = NO_VALUE
    gap: Triple = NO_VALUE
    ratio: Triple = NO_VALUE
    deviation: Triple = NO_VALUE
    difference: Triple = NO_VALUE
    groups: tuple[str, ...] = ()
    masked: tuple[str, ...] = ()


class Side(_Part):
    """One of two models that are compared."""

    model: str
    condition: str


class GroupDifference(_Part):
    """The first model's metric minus the second's in one group."""

    difference: Triple
    simultaneous: Triple
    p: FiniteFloat | None
    p_corrected: FiniteFloat | None
    decided: bool


class Comparison(_Part):
    """Two models on the same images, group by group."""

    learner: str
    by: str
    metric: str
    a: Side
    b: Side
    groups: dict[str, GroupDifference]


class Gain(_Part):
    """What metadata add to images, and what of it the site would add; `over` all or sites."""

    learner: str
    metric: str
    over: Literal["all", "sites"]
    gain: Triple
    site_gain: Triple
    remaining: Triple
    through_site: Triple
    share: Triple


class Exactness(_Part):
    """Predictions in which the federated model differs from the pooled fit."""

    learner: str
    condition: str
    predictions: Count
    differ: Count


class Cost(_Part):
    """What a federation takes, on average."""

    learner: str
    model: str
    condition: str
    federations: FiniteFloat
    rounds: FiniteFloat | None = None
    bytes_up: FiniteFloat | None = None
    bytes_down: FiniteFloat | None = None
    seconds: FiniteFloat | None = None


class Validated(_Part):
    """Balanced accuracy on validation images, of a model that they chose."""

    learner: str
    model: str
    balanced_accuracy: FiniteFloat


class Study(_Part):
    """A whole ``result.json``."""

    kind: Literal["study"]
    study: StudyName
    question: str
    settings: Settings
    cohort: CohortCount
    cells: tuple[Cell, ...] = Field(min_length=1)
    fairness: tuple[Fairness, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    gains: tuple[Gain, ...] = ()
    exactness: tuple[Exactness, ...] = ()
    costs: tuple[Cost, ...] = ()
    validation: tuple[Validated, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: dict[str, FiniteFloat] = {}
    machine: str = ""
    versions: dict[str, str] = {}

    @model_validator(mode="after")
    def _square(self) -> Study:
        k = len(self.cohort.classes)
        for number, cell in enumerate(self.cells):
            matrix = cell.confusion
            if matrix is not None and (len(matrix) != k or any(len(row) != k for row in matrix)):
                raise ValueError(f"cells.{number}.confusion: is not {k} by {k}, a row a class")
        return self
