"""A temperature for each site's model, fitted on the validation images of all sites."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import ContributionError
from common.learners.base import Arrays, ArraySpec, Contribution, SiteData, State
from common.learners.composed import FITTED, HeadLearner
from common.learners.ensemble.stacked import MOST_SITES, each, of_sites
from common.learners.temperature import TemperatureStep
from common.one_thread import one_blas_thread

if TYPE_CHECKING:
    from numpy.typing import NDArray

TEMPERATURE = "temperature"
_STAGE = re.compile(rf"{TEMPERATURE}:([1-9][0-9]{{0,4}})")
_ROUNDS = "temperature.rounds"
_HEAD = ("coef", "intercept")


class LocalTemperature:
    """Rounds of the temperatures of several models at once.

    Parameters
    ----------
    base : HeadLearner
        What each site has fitted.
    """

    def __init__(self, base: HeadLearner) -> None:
        classes = len(base.problem.classes)
        self.base = base
        self.step = TemperatureStep(classes, base.front.width, vector=False)

    def state_spec(self, models: int) -> Mapping[str, ArraySpec]:
        """Describe ``theta``, inverse temperatures to look at, a row a model."""
        return of_sites({"theta": self.step.state_spec("temperature")["theta"]}, models, "")

    def contribution_spec(self, models: int) -> Mapping[str, ArraySpec]:
        """Describe the loss and its derivatives at each point, a row a model."""
        return of_sites(self.step.contribution_spec("temperature"), models, "")

    def start(self, arrays: Arrays) -> State:
        """Ask for the first points."""
        models = each(arrays)
        theta = np.array([self.step.start(model).arrays["theta"] for model in models])
        # 0 where a model is not done.
        memory = {"found": np.zeros(len(models)), _ROUNDS: np.array([0])}
        return State(stage_of(len(models)), {**arrays, "theta": theta}, memory=memory)

    def verify(self, contribution: Contribution) -> None:
        """Refuse sums that no images can have."""
        with np.errstate(all="ignore"):
            for row in range(len(contribution.arrays["loss"])):
                self.step.verify("temperature", _row(contribution, row))

    def contribute(self, data: SiteData, state: State) -> Contribution:
        """Sum every model's loss over a site's images."""
        models = each(state.arrays)
        sums: dict[str, list[Any]] = {name: [] for name in self.contribution_spec(len(models))}
        with one_blas_thread():
            for model, theta in zip(models, state.arrays["theta"], strict=True):
                rows = self.base.front.rows(data, model)
                asked = State("temperature", {**model, "theta": theta})
                for name, array in self.step.contribute(rows, asked, model).items():
                    sums[name].append(array)
        return Contribution(len(data), {name: np.array(rows) for name, rows in sums.items()})

    def update(self, state: State, total: Contribution) -> State:
        """Take one step of each model that is not done."""
        models = {name: array for name, array in state.arrays.items() if name != "theta"}
        found, theta = state.memory["found"].copy(), state.arrays["theta"].copy()
        memory = {_ROUNDS: state.memory[_ROUNDS]}
        after = state
        notes: list[str] = []
        for row, model in enumerate(each(models)):
            if found[row]:
                continue
            own = {**{name: model[name] for name in _HEAD}, "theta": theta[row]}
            with np.errstate(all="ignore"):
                after = self.step.update(
                    State("temperature", own, memory=memory), _row(total, row), model
                )
            notes += [f"model {row + 1} of {len(found)}: {note}" for note in after.notes]
            if after.done:
                found[row] = after.arrays["inverse_temperature"][0]
            else:
                theta[row] = after.arrays["theta"]
        rounds = np.array([int(state.memory[_ROUNDS][0]) + 1])
        if not found.all():
            kept: dict[str, NDArray[Any]] = {"found": found, _ROUNDS: rounds}
            arrays = {**models, "theta": theta}
            return State(state.stage, arrays, memory=kept, notes=tuple(notes))
        ones = np.ones_like(models["site_inverse_temperature"])
        models["site_inverse_temperature"] = ones * found[:, None]
        return State(FITTED, models, True, {}, tuple(notes))


def stage_of(models: int) -> str:
    """Name the stage of so many models: their number is part of what an answer must be."""
    return f"{TEMPERATURE}:{models}"


def models_of(stage: str) -> int:
    """Tell how many models a stage asks about.

    Raises
    ------
    ContributionError
        If it is no such stage.
    """
    found = _STAGE.fullmatch(stage)
    if found is None or int(found[1]) > MOST_SITES:
        raise ContributionError(f"the learner has no stage {stage!r}")
    return int(found[1])


def _row(sums: Contribution, row: int) -> Contribution:
    return Contribution(sums.count, {name: array[row] for name, array in sums.arrays.items()})
