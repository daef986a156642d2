"""The local vote: each site fits a head on its own images alone; the sites' heads vote.

No sum of images leaves a site, but its whole model does, and every site gets those of all others:
the coordinator sees sites apart. It is what hospitals do that train alone and share models, and
what an exact head by sums is to be compared with.

Each site's model is calibrated by one temperature, fitted by sums on the validation images of all
sites: a model that is sure of itself at home and wrong elsewhere is thereby heard less, a site with
few validation images needs none of its own, and models travel no further than they do in the end.

The vote for a class is the mean of the probabilities of the sites that had training images of it,
weighted by their training images; the votes are then divided by their sum. A plain mean, in which
sites that never saw the class vote 0 for it, would hardly ever name the class of one small site.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from common.errors import ContributionError, SettingsError
from common.learners.base import Arrays, ArraySpec, Contribution, Head, Problem, SiteData, State
from common.learners.checked import check_arrays
from common.learners.composed import FITTED, HeadLearner
from common.learners.ensemble.ensemble_head import EnsembleHead
from common.learners.ensemble.local_temperature import LocalTemperature, models_of, stage_of
from common.learners.ensemble.members import (
    EnsembleSettings,
    Member,
    probabilities,
    read_member,
    without_search,
)
from common.learners.ensemble.stacked import each, of_sites, stack
from common.learners.federate import fit_sites
from common.learners.settings import check_settings
from common.split import Split

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LOCAL = "local"
# Larger numbers could make scores that are none; no standardised fit has them.
_LARGEST = 1e30
_SMALLEST_SCALE = 1e-30


class LocalVoteSettings(EnsembleSettings):
    """Settings of the local vote.

    Attributes
    ----------
    base : str
        The linear head that each site fits, its settings behind colons:
        ``svm:kernel=rff:components=1024``. If it searches, each site chooses for itself by the
        ensemble's `folds`.
    calibrate : str
        A ``temperature`` for each site's model, or ``none``.
    """

    base: str = "svm"
    calibrate: Literal["temperature", "none"] = "temperature"

    @property
    def unless_told(self) -> str:
        """Give the calibration of the base: its own is the vote's."""
        return "none"

    def members_made(self) -> tuple[Member, ...]:
        """Read the base.

        Raises
        ------
        SettingsError
            If it is no linear head, calibrates itself, or has a wrong setting.
        """
        base = read_member(self.base, self.folds, self.unless_told, linear=True)
        if getattr(base.settings, "calibrate", "none") != "none":
            raise SettingsError(
                f"learner settings: member {base.name}: calibrate is the vote's, not a member's"
            )
        return (base,)

    def uncalibrated(self) -> Self:
        """Give the settings of a fit for which nothing is held out to calibrate on."""
        return self.model_copy(update={"calibrate": "none"})


class LocalVoteHead(EnsembleHead):
    """The local vote as an estimator.

    Parameters
    ----------
    base
        As in `LocalVoteSettings`.

    Attributes
    ----------
    weight_ : ndarray of float64, shape (sites, classes)
        Each site's share in the vote for each class; 0 for classes that it never saw.
    """

    settings_type = LocalVoteSettings
    weight_: NDArray[np.float64]

    def __init__(self, base: str = "svm") -> None:
        self.base = base

    def _take(self, arrays: Arrays, classes: NDArray[Any]) -> Sequence[Head]:
        settings = check_settings(LocalVoteSettings, self.get_params())
        (base,) = settings.members_made()
        models = each(arrays)
        counts = np.array([model["class_count"] for model in models])
        weight = np.where(counts > 0, counts.sum(axis=1, keepdims=True), 0).astype(np.float64)
        self.weight_ = weight / np.maximum(weight.sum(axis=0), 1.0)
        return [base.head(model, classes) for model in models]

    def _combine(self, x: NDArray[Any]) -> NDArray[np.float64]:
        votes = np.zeros((len(x), len(self._all)))
        for weight, head in zip(self.weight_, self.heads_, strict=True):
            votes += weight * probabilities(head, self._all, x)
        votes = votes[:, self._present]
        shares: NDArray[np.float64] = votes / votes.sum(axis=1, keepdims=True)
        return shares


class LocalVoteLearner:
    """A round in which each site fits its own head, then the rounds of their temperatures.

    Parameters
    ----------
    problem : Problem
        Classes and dimension.
    settings : LocalVoteSettings
        What each site fits.
    """

    def __init__(self, problem: Problem, settings: LocalVoteSettings) -> None:
        self.problem, self.settings = problem, settings
        (self.member,) = settings.members_made()
        made = self.member.learner(problem)
        if not isinstance(made, HeadLearner):
            raise SettingsError(f"learner settings: member {self.member.name} is no linear head")
        self.base: HeadLearner = made
        self.temperature: LocalTemperature | None = None
        if settings.calibrate != "none":
            self.temperature = LocalTemperature(self.base)
        # How many models there will be, nobody knows before: listed is what is asked of each.
        later = () if self.temperature is None else (stage_of(1),)
        self.stages: tuple[str, ...] = (_LOCAL, *later)
        self.rounds = self.most_rounds = None if later else 1

    def warm_start(self, arrays: Arrays) -> None:  # noqa: ARG002
        """Refuse: an ensemble starts anew."""
        raise SettingsError("warm start: is for logistic and svm; an ensemble starts anew")

    def start(self) -> State:
        """Give the state before the first round."""
        return State(_LOCAL, {})

    def apart(self, stage: str) -> bool:
        """Tell whether the answers to a stage are merged, not added."""
        return stage == _LOCAL

    def state_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Tell which arrays a state of this stage carries: each site's, one under the other."""
        if stage == _LOCAL:
            return {}
        count = ArraySpec((len(self.problem.classes),), "int64", minimum=0)
        number = None if stage == FITTED else models_of(stage)
        models = {"class_count": count, **of_sites(self.base.state_spec(FITTED), number)}
        if number is None:
            return models
        return {**models, **self._later(stage).state_spec(number)}

    def contribution_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Tell which arrays an answer to this stage carries: a fitted model, or sums."""
        if stage != _LOCAL:
            return self._later(stage).contribution_spec(models_of(stage))
        spec = dict(self.base.state_spec(FITTED))
        spec["class_count"] = replace(spec["class_count"], times_counted=1)
        return spec

    def part(self, stage: str) -> Split:
        """Tell which part of the split a stage is about."""
        return Split.TRAIN if stage == _LOCAL else Split.VALIDATION

    def verify(self, stage: str, contribution: Contribution) -> None:
        """Refuse a model whose probabilities could be no numbers, or sums that no images have."""
        if stage != _LOCAL:
            self._later(stage).verify(contribution)
            return
        for name, array in contribution.arrays.items():
            if array.dtype.kind == "f" and (np.abs(array) > _LARGEST).any():
                raise ContributionError(f"{name}: holds a number above {_LARGEST:g}")
        if (contribution.arrays["scale"] < _SMALLEST_SCALE).any():
            raise ContributionError(f"scale: below {_SMALLEST_SCALE:g}")
        if (contribution.arrays["inverse_temperature"] != 1.0).any():
            raise ContributionError("inverse_temperature: is not 1, but sites do not calibrate")

    def contribute(self, data: SiteData, state: State) -> Contribution:
        """Fit the site's own head, or sum the loss of every site's on this site's images."""
        if state.stage != _LOCAL:
            return self._later(state.stage).contribute(data, state)
        if len(np.unique(data.y)) < 2:
            return Contribution(len(data), self._no_model(data))
        return Contribution(len(data), fit_sites(self.base, {"own": data}).arrays)

    def update(self, state: State, total: Contribution) -> State:
        """Take one step of the temperatures."""
        return self._later(state.stage).update(state, total)

    def merge(self, state: State, parts: Mapping[str, Contribution]) -> State:
        """Put the sites' models under each other, in the order of the sites' names."""
        del state
        votes = {
            site: part
            for site, part in sorted(parts.items())
            if np.count_nonzero(part.arrays["class_count"]) > 1
        }
        notes = [
            f"{site}: has training images of fewer than two classes, so it has no vote"
            for site in sorted(parts.keys() - votes.keys())
        ]
        if not votes:
            raise ContributionError("no site has training images of two classes")
        arrays = stack([part.arrays for part in votes.values()])
        arrays["class_count"] = arrays["site_class_count"].sum(axis=0)
        check_arrays(arrays, self.state_spec(FITTED))
        if self.temperature is None:
            return State(FITTED, arrays, True, {}, tuple(notes))
        begun = self.temperature.start(arrays)
        return replace(begun, notes=tuple(notes))

    def head(self, state: State) -> LocalVoteHead:
        """Make the fitted classifier."""
        head = LocalVoteHead(without_search(self.settings.base))
        return head.set_fitted(state.arrays, np.array(self.problem.classes))

    def _later(self, stage: str) -> LocalTemperature:
        if self.temperature is None or not models_of(stage):
            raise ContributionError(f"the learner has no stage {stage!r}")
        return self.temperature

    def _no_model(self, data: SiteData) -> Arrays:
        """Answer of a site that has nothing to tell apart: its class counts, and no model."""
        arrays: dict[str, NDArray[Any]] = {
            name: np.zeros([length or 0 for length in spec.shape], spec.dtype)
            for name, spec in self.base.state_spec(FITTED).items()
        }
        count = np.bincount(data.y, minlength=len(self.problem.classes))
        arrays["class_count"] = count.astype(np.int64)
        for name in ("scale", "inverse_temperature"):
            arrays[name] = np.ones_like(arrays[name])
        return arrays


def make_local_vote(problem: Problem, settings: LocalVoteSettings) -> LocalVoteLearner:
    """Make the learner."""
    return LocalVoteLearner(problem, settings)
