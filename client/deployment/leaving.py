"""What would leave the building: each statistic of a learner, its shape, size and minimum count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from client.deployment.settings import Bounds
from common.backbones import get_backbone
from common.evaluation import evaluation_spec
from common.learners import make_learner
from common.learners.base import ArraySpec, Problem


@dataclass(frozen=True)
class Statistic:
    """A statistic that leaves.

    Attributes
    ----------
    when : str
        The stage of a run.
    part : str
        The part of the split that it is over.
    name : str
        What it is.
    shape : tuple of int or None
        Its shape; None for an axis of any length.
    dtype : str
        NumPy's name.
    bytes : int
        Its values' size; in a message, NumPy's header of 128 bytes comes before them.
    minimum_count : int
        Fewest images that it is over.
    """

    when: str
    part: str
    name: str
    shape: tuple[int | None, ...]
    dtype: str
    bytes: int
    minimum_count: int


def statistics(
    learner: str,
    backbone: str,
    classes: tuple[str, ...],
    bounds: Bounds,
    *,
    malignant: bool,
    settings: str = "",
) -> tuple[Statistic, ...]:
    """List what one learner's run asks of a site.

    Parameters
    ----------
    learner, backbone : str
        Their keys.
    classes : tuple of str
        Class names of the cohort.
    bounds : Bounds
        What the site allows.
    malignant : bool
        Whether the cohort tells which classes are malignant.
    settings : str
        The learner's, as ``"key=value key=value"``; what is not named has its default.

    Raises
    ------
    SettingsError
        If the learner has no such setting.
    """
    problem = Problem(classes, get_backbone(backbone).dimension)
    made = make_learner(learner, problem, settings)
    found: list[Statistic] = []
    for stage in made.stages:
        spec = made.contribution_spec(stage)
        found += _of(stage, made.part(stage).value, spec, bounds.minimum_count)
    spec = evaluation_spec(len(classes), malignant=malignant, draws=bounds.most_draws)
    return (*found, *_of("evaluation", "test", spec, bounds.minimum_count))


def _of(when: str, part: str, spec: Mapping[str, ArraySpec], minimum_count: int) -> list[Statistic]:
    return [
        Statistic(
            when,
            part,
            name,
            array.shape,
            array.dtype,
            array.elements * np.dtype(array.dtype).itemsize,
            minimum_count,
        )
        for name, array in spec.items()
    ]
