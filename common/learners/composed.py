"""A head's learner: the front's round, the head's own rounds, then the temperature's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from common.errors import ContributionError, SettingsError
from common.learners.base import Arrays, ArraySpec, Contribution, Problem, SiteData, State
from common.learners.checked import check_arrays
from common.learners.class_gram import STAGE as CLASS_GRAM
from common.learners.class_gram import ClassGrams, FromClassGrams
from common.learners.front import FrontLearner
from common.learners.settings import HeadSettings
from common.learners.step import IterativeStep, Step
from common.learners.temperature import TemperatureStep
from common.learners.warm_start import carry_over
from common.one_thread import one_blas_thread
from common.split import Split

if TYPE_CHECKING:
    from common.learners.linear_head import LinearHead

FITTED = "fitted"


class HeadLearner:
    """A `Learner` made of a front, a step and a calibration.

    Parameters
    ----------
    problem : Problem
        Classes and dimension.
    settings : HeadSettings
        Of the front and of the calibration.
    make_step : callable
        Makes the head's own step from the number of classes and the width of its features.
    make_head : callable
        Makes the unfitted estimator.

    Raises
    ------
    SettingsError
        If a ledger is asked for and the head is no closed form.
    """

    def __init__(
        self,
        problem: Problem,
        settings: HeadSettings,
        make_step: Callable[[int, int], Step],
        make_head: Callable[[], LinearHead],
    ) -> None:
        self.problem, self.settings = problem, settings
        self.front = FrontLearner(problem, settings)
        classes, width = len(problem.classes), self.front.width
        self.step = make_step(classes, width)
        self._calibration: TemperatureStep | None = None
        if settings.calibrate != "none":
            vector = settings.calibrate == "vector"
            self._calibration = TemperatureStep(classes, width, vector=vector)
        self._class_grams = ClassGrams(problem) if settings.ledger else None
        if settings.ledger and not isinstance(self.step, FromClassGrams):
            raise SettingsError("learner settings: ledger is for ncm, lda and ridge only")
        self._make_head = make_head
        self._warm: Arrays | None = None

    def warm_start(self, arrays: Arrays) -> None:
        """Start an iterative head from a fitted model's arrays instead of from zero.

        Raises
        ------
        SettingsError
            If the head is a closed form, which starts nowhere.
        """
        if not isinstance(self.step, IterativeStep):
            raise SettingsError("warm start: is for logistic and svm; a closed form starts nowhere")
        self._warm = arrays

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that a fit may go through, in their order."""
        calibration = () if self._calibration is None else self._calibration.stages
        return (self.start().stage, *self.step.stages, *calibration)

    @property
    def rounds(self) -> int | None:
        """The rounds that a fit takes; None where its sums tell when it is done."""
        if self._calibration is not None or not isinstance(self.step, FromClassGrams):
            return None
        return self.most_rounds

    @property
    def most_rounds(self) -> int:
        """The rounds that a fit takes at most."""
        calibration = 0 if self._calibration is None else self._calibration.most_rounds
        step = 0 if self._class_grams is not None else self.step.most_rounds
        return 1 + step + calibration

    def start(self) -> State:
        """Give the state before the first round."""
        return State(CLASS_GRAM, {}) if self._class_grams is not None else self.front.start()

    def state_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Tell which arrays a state of this stage carries."""
        if self._is_first(stage):
            return {}
        front = self.front.fitted_spec()
        if stage == FITTED:
            classes = len(self.problem.classes)
            return {
                **front,
                "coef": ArraySpec((classes, self.front.width)),
                "intercept": ArraySpec((classes,)),
                "inverse_temperature": ArraySpec((classes,), minimum=0.0),
            }
        return {**front, **self._of(stage).state_spec(stage)}

    def contribution_spec(self, stage: str) -> Mapping[str, ArraySpec]:
        """Tell which arrays a contribution to this stage carries."""
        if self._class_grams is not None and stage == CLASS_GRAM:
            return self._class_grams.spec()
        if self._is_first(stage):
            return self.front.contribution_spec(stage)
        return self._of(stage).contribution_spec(stage)

    def part(self, stage: str) -> Split:
        """Tell which part of the split a stage sums over."""
        return Split.VALIDATION if stage in TemperatureStep.stages else Split.TRAIN

    def verify(self, stage: str, contribution: Contribution) -> None:
        """Refuse one site's sums that no images can have."""
        # Sums of absurd size overflow in the comparisons, which then refuse them.
        with np.errstate(all="ignore"):
            if self._class_grams is not None and stage == CLASS_GRAM:
                self._class_grams.verify(contribution)
            elif self._is_first(stage):
                self.front.verify(stage, contribution)
            else:
                self._of(stage).verify(stage, contribution)

    def contribute(self, data: SiteData, state: State) -> Contribution:
        """Sum over a site's images.

        Raises
        ------
        ContributionError
            If the learner needs folds and the data have none.
        """
        if self.settings.folds and data.fold is None and self.part(state.stage) is Split.TRAIN:
            raise ContributionError("the learner chooses by folds, but the images have none")
        with one_blas_thread():
            if self._class_grams is not None and state.stage == CLASS_GRAM:
                return Contribution(len(data), self._class_grams.sums(data))
            if self._is_first(state.stage):
                return self.front.contribute(data, state)
            rows = self.front.rows(data, state.arrays)
            sums = self._of(state.stage).contribute(rows, state, state.arrays)
        return Contribution(len(data), sums)

    def update(self, state: State, total: Contribution) -> State:
        """Take one step from the sums over all sites.

        Raises
        ------
        ContributionError
            If fewer than two classes have training images, or no images can have these sums.
        """
        with np.errstate(all="ignore"), one_blas_thread():
            after = self._after(state, total)
        try:
            check_arrays(after.arrays, self.state_spec(after.stage))
        except ContributionError as error:
            raise ContributionError(f"no images can have the sums of the sites: {error}") from error
        return after

    def head(self, state: State) -> LinearHead:
        """Make the fitted classifier over the classes that have training images."""
        head = self._make_head()
        head.set_params(**{name: getattr(self.settings, name) for name in head.get_params()})
        return head.set_fitted(state.arrays, np.array(self.problem.classes))

    def _after(self, state: State, total: Contribution) -> State:
        if self._class_grams is not None and state.stage == CLASS_GRAM:
            return self._from_class_grams(self._class_grams, total)
        if self._is_first(state.stage):
            fitted = self.front.update(state, total).arrays
            if np.count_nonzero(fitted["class_count"]) < 2:
                raise ContributionError("fewer than two classes have training images")
            if self._warm is not None and isinstance(self.step, IterativeStep):
                self.step.initial = carry_over(self._warm, fitted)
            return _beside(fitted, self.step.start(fitted))
        fitted = {name: state.arrays[name] for name in self.front.fitted_spec()}
        own = {name: a for name, a in state.arrays.items() if name not in fitted}
        before = State(state.stage, own, memory=state.memory)
        after = self._of(state.stage).update(before, total, fitted)
        if not after.done or state.stage in TemperatureStep.stages:
            return _beside(fitted, after)
        return self._calibrate(fitted, after)

    def _from_class_grams(self, grams: ClassGrams, total: Contribution) -> State:
        if not isinstance(self.step, FromClassGrams):
            raise ContributionError("the learner has no stage for a ledger")
        arrays = grams.fit(self.front, self.step, total)
        fitted = {name: arrays[name] for name in self.front.fitted_spec()}
        own = {name: a for name, a in arrays.items() if name not in fitted}
        return self._calibrate(fitted, State(FITTED, own, done=True))

    def _calibrate(self, fitted: Arrays, after: State) -> State:
        """Go on to the temperature, or end with it at 1."""
        if self._calibration is not None:
            begun = self._calibration.start({**fitted, **after.arrays})
            begun = State(begun.stage, begun.arrays, False, {**after.memory, **begun.memory})
            return _beside(fitted, begun, after.notes)
        ones: dict[str, Any] = {"inverse_temperature": np.ones(len(self.problem.classes))}
        done = State(FITTED, {**after.arrays, **ones}, True, after.memory)
        return _beside(fitted, done, after.notes)

    def _is_first(self, stage: str) -> bool:
        return stage == self.start().stage

    def _of(self, stage: str) -> Step:
        if self._calibration is not None and stage in TemperatureStep.stages:
            return self._calibration
        if stage in self.step.stages:
            return self.step
        raise ContributionError(f"the learner has no stage {stage!r}")


def _beside(fitted: Arrays, state: State, notes: tuple[str, ...] = ()) -> State:
    stage = FITTED if state.done else state.stage
    arrays = {**fitted, **state.arrays}
    return State(stage, arrays, state.done, state.memory, (*notes, *state.notes))
