"""Settings of tuning, and the candidates that they make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from common.errors import SettingsError
from common.learners.ensemble.members import MOST_MEMBERS, Member
from common.learners.settings import LearnerSettings, check_settings
from common.learners.tuning.space import draws, grid, parse_space

Metric = Literal["balanced_accuracy", "log_loss"]
TUNED = "tuned"
# A candidate is fitted and compared here, and keeps nothing for later.
_OF_TUNING = ("folds", "search", "search_seed", "ledger")


@dataclass(frozen=True)
class Candidate(Member):
    """A learner with settings that are tried.

    Attributes
    ----------
    text : str
        What was set of those that are tried, as ``trees=50 min_leaf=1``.
    """

    text: str = ""


class TunedSettings(LearnerSettings):
    """Settings of tuning.

    Attributes
    ----------
    learner : str
        Whose settings are tried: any learner but this one.
    space : str
        What is tried: ``name=values`` with semicolons between them; values with ``|`` between
        them, or a range on a logarithmic scale, ``LOW..HIGH..COUNT`` of a grid and ``LOW..HIGH``
        of a random search. A single value is just set.
    search : str
        ``grid`` for every combination, ``random`` for some.
    candidates : int
        Combinations that a random search draws.
    search_seed : int
        Seed of a random search.
    metric : str
        What is compared: ``balanced_accuracy``, or ``log_loss`` of the probabilities.
    folds : int
        Folds by lesion, of equal shares of each class at each site.
    at_once : int
        Models that are fitted side by side, at most; the folds of one candidate always are.
    ledger : bool
        False: tuning keeps no ledger.
    """

    stratified: ClassVar[bool] = True

    learner: str = "logistic"
    space: str = "alpha_per_image=0.01|0.1|1"
    search: Literal["grid", "random"] = "grid"
    candidates: int = Field(10, ge=1, le=100)
    search_seed: int = Field(0, ge=0)
    metric: Metric = "balanced_accuracy"
    folds: int = Field(5, ge=2, le=10)
    at_once: int = Field(MOST_MEMBERS, ge=1, le=MOST_MEMBERS)
    ledger: Literal[False] = False

    def candidates_made(self) -> tuple[Candidate, ...]:
        """Make the candidates.

        Raises
        ------
        SettingsError
            If the learner is unknown or cannot be tuned, or a setting is wrong.
        """
        from common.learners import LEARNERS

        known = [name for name in LEARNERS if name != TUNED]
        if self.learner not in known:
            raise SettingsError(
                f"learner settings: learner {self.learner!r} cannot be tuned; choose one of: "
                f"{', '.join(known)}"
            )
        kind = LEARNERS[self.learner][0].settings_type
        space = parse_space(self.space)
        for name in _OF_TUNING:
            if name in space:
                raise SettingsError(f"learner settings: space {name}: is not tuned, but tunes")
        whole = [name for name, field in kind.model_fields.items() if field.annotation is int]
        if self.search == "grid":
            tried = grid(space, whole)
        else:
            tried = draws(space, whole, self.candidates, self.search_seed)
        return tuple(
            Candidate(
                self.learner,
                check_settings(kind, values, of=f"learner settings: {self.learner}"),
                text=" ".join(f"{name}={value}" for name, value in values.items()),
            )
            for values in tried
        )

    def uncalibrated(self) -> Self:
        """Give the settings of a fit for which nothing is held out to calibrate on."""
        from common.learners import LEARNERS

        if "calibrate" not in LEARNERS[self.learner][0].settings_type.model_fields:
            return self
        kept = [item for item in self.space.split(";") if not item.startswith("calibrate=")]
        return self.model_copy(update={"space": ";".join([*kept, "calibrate=none"])})

    @model_validator(mode="after")
    def _candidates_are_right(self) -> Self:
        self.candidates_made()
        return self
