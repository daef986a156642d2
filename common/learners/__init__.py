"""The learners by name: one file and one line here for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from common.errors import SettingsError
from common.learners.base import Learner, Problem
from common.learners.ridge import RidgeLearner

LEARNERS: Mapping[str, Callable[[Problem, float], Learner]] = {
    "ridge": RidgeLearner,
}


def make_learner(name: str, problem: Problem, alpha_per_image: float) -> Learner:
    """Make a learner.

    Parameters
    ----------
    name : str
        A key of `LEARNERS`.
    problem : Problem
        Classes and dimension.
    alpha_per_image : float
        Its penalty, divided by the number of training images.

    Raises
    ------
    SettingsError
        If the learner is unknown or a setting is out of bounds.
    """
    if name not in LEARNERS:
        raise SettingsError(f"learner {name!r} is unknown; choose one of: {', '.join(LEARNERS)}")
    return LEARNERS[name](problem, alpha_per_image)
