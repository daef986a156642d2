"""What a study is: a list of fits, and what is looked at in their predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from simulations.studies.fit import Fit

if TYPE_CHECKING:
    from simulations.studies.cells import Evaluated

    Found = Mapping[tuple[str, str, str], Evaluated]

Value = str | int | float


@dataclass(frozen=True)
class Plan:
    """What the user asks a study for.

    Attributes
    ----------
    sites : tuple of str
        Acquisition sites of the cohort.
    learners : tuple of str
        Each with its settings, as ``"logistic pca=128"``.
    split_seeds : tuple of int
        Repetitions.
    seed : int
        Of drawn partitions.
    partitions : tuple of str
        For the heterogeneity study, as `simulations.studies.heterogeneity` names them.
    images_per_site : tuple of int
        For the learning curve.
    largest : int
        Images of the largest site.
    training : str
        Settings of training, for a study that fine-tunes.
    local : bool
        Whether such a study also lets each site fine-tune alone.
    backbones : tuple of str
        For the comparison.
    treatments : tuple of str
        Of imbalance, for the comparison; see `simulations.studies.compare`.
    turns : int
        Of the split, for the comparison.
    views : tuple of int
        Numbers of augmented views beside each training image, for the comparison's heads.
    strategies : tuple of str
        Of fine-tuning, with their settings, for the comparison.
    tuned : tuple of str
        The backbones that the strategies fine-tune: those that have stages.
    metadata : str
        For the study of fusion: the text of an early `common.metadata.Fusion`.
    """

    sites: tuple[str, ...]
    learners: tuple[str, ...]
    split_seeds: tuple[int, ...]
    seed: int = 0
    partitions: tuple[str, ...] = ()
    images_per_site: tuple[int, ...] = ()
    largest: int = 0
    training: str = ""
    local: bool = True
    backbones: tuple[str, ...] = ("efficientnet_lite0",)
    treatments: tuple[str, ...] = ()
    turns: int = 1
    views: tuple[int, ...] = (0,)
    strategies: tuple[str, ...] = ()
    tuned: tuple[str, ...] = ()
    metadata: str = ""


@dataclass(frozen=True)
class Label:
    """Where a fit's predictions stand in the tables.

    Attributes
    ----------
    model : str
        The column.
    condition : str
        What the study varies, in words.
    about : mapping of str to str, int or float
        The same as values, for the axes of figures.
    """

    model: str
    condition: str
    about: Mapping[str, Value]


@dataclass(frozen=True)
class Pair:
    """Two series that are compared on the images that both predict.

    Attributes
    ----------
    a, b : (str, str)
        Model and condition; a model of `BASELINE` goes with every learner.
    learners : (str, str) or None
        Those of a and of b; None for the same of both, any of the plan's.
    """

    a: tuple[str, str]
    b: tuple[str, str]
    learners: tuple[str, str] | None = None


@dataclass(frozen=True)
class Study:
    """A study; one file each, and one line in `simulations.studies.STUDIES`.

    Attributes
    ----------
    name : str
        As on the command line.
    question : str
        What it answers, one sentence.
    learners : tuple of str
        Those taken if the user names none.
    by : tuple of str
        How test images are grouped: keys of `simulations.studies.groups.GROUPINGS`.
    fits : callable
        Lists the fits.
    label : callable
        Tells where a fit's model stands in the tables.
    pairs : callable
        Lists the comparisons.
    tunes : bool
        Whether learners are strategies of fine-tuning, and workers open images.
    fuses : bool
        Whether it sets its fits' metadata itself.
    more : mapping of str to callable
        What else ``result.json`` has, by name: each made of the plan and what was measured of
        every series, by learner, model and condition.
    """

    name: str
    question: str
    learners: tuple[str, ...]
    by: tuple[str, ...]
    fits: Callable[[Plan], list[Fit]]
    label: Callable[[Fit, str], Label]
    pairs: Callable[[Plan], list[Pair]]
    tunes: bool = False
    fuses: bool = False
    more: Mapping[str, Callable[[Plan, Found], list[dict[str, Any]]]] = field(default_factory=dict)


def plain_label(fit: Fit, model: str) -> Label:
    """Take model and condition as they are."""
    return Label(model, fit.condition, {"partition": fit.partition})
