"""Which learners an ensemble is made of, as text: ``logistic,ridge,svm:kernel=rff:gamma=0.1``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from common.errors import SettingsError
from common.learners.base import Head, Learner, Problem
from common.learners.ensemble.blocks import ALL, BLOCKS, BlockHead, check_blocks, problem_of_block
from common.learners.linear_head import LinearHead
from common.learners.settings import LearnerSettings, check_settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from common.learners.base import Arrays

# A stage names the members that it asks; so many fit into a stage's name.
MOST_MEMBERS = 32
_OF_ENSEMBLE = ("folds", "ledger")


@dataclass(frozen=True)
class Member:
    """A learner of an ensemble.

    Attributes
    ----------
    name : str
        Key of `common.learners.LEARNERS`.
    settings : LearnerSettings
        Its own.
    block : str
        The columns that it sees, as `common.learners.ensemble.blocks.BLOCKS`.
    """

    name: str
    settings: LearnerSettings
    block: str = ALL

    def learner(self, problem: Problem) -> Learner:
        """Make it.

        Raises
        ------
        SettingsError
            If it sees a block that the run does not have.
        """
        from common.learners import LEARNERS

        return LEARNERS[self.name][1](problem_of_block(problem, self.block), self.settings)

    def head(self, arrays: Arrays, classes: NDArray[Any]) -> Head:
        """Make its classifier of its last arrays and the names of all classes."""
        from common.learners import LEARNERS

        head: Any = LEARNERS[self.name][0]()
        head.set_params(**{name: getattr(self.settings, name) for name in head.get_params()})
        fitted: Head = head.set_fitted(arrays, classes)
        return fitted if self.block == ALL else BlockHead(fitted, self.block)


class EnsembleSettings(LearnerSettings):
    """What every ensemble has.

    Attributes
    ----------
    folds : int
        Folds by lesion for the members that search; 0 for none.
    ledger : bool
        False: an ensemble keeps no ledger.
    """

    folds: int = Field(0, ge=0, le=100)
    ledger: Literal[False] = False

    @property
    def unless_told(self) -> str:
        """Give the calibration of members that name none; empty for their own default."""
        return ""

    def described(self) -> tuple[str, ...]:
        """Give each member as text."""
        raise NotImplementedError

    def members_made(self) -> tuple[Member, ...]:
        """Read the members.

        Raises
        ------
        SettingsError
            If one is unknown, an ensemble itself, or has a wrong setting.
        """
        texts = self.described()
        if not 0 < len(texts) <= MOST_MEMBERS:
            raise SettingsError(f"learner settings: {len(texts)} members; give 1 to {MOST_MEMBERS}")
        return tuple(read_member(text, self.folds, self.unless_told, blocks=True) for text in texts)

    @model_validator(mode="after")
    def _members_are_right(self) -> Self:
        members = self.members_made()
        if self.folds and not any(member.settings.folds for member in members):
            raise ValueError("folds: no member searches, as ridge:search=grid:0.01:100:12 would")
        check_blocks([member.block for member in members])
        return self


def parse_member(text: str) -> tuple[str, dict[str, str]]:
    """Read ``name:key=value:key=value``; a value may hold colons, as ``search=grid:1:10:5``.

    Raises
    ------
    SettingsError
        If it is not of that form.
    """
    name, *pieces = text.split(":")
    values: dict[str, str] = {}
    key = ""
    for piece in pieces:
        before, sign, value = piece.partition("=")
        if sign and before and value and before not in values:
            key, values[before] = before, value
        elif not sign and key and piece:
            values[key] += f":{piece}"
        else:
            raise SettingsError(
                f"learner settings: member {text!r} is not name:key=value:key=value"
            )
    return name, values


def format_member(name: str, values: dict[str, str]) -> str:
    """Write what `parse_member` reads."""
    return ":".join([name, *(f"{key}={value}" for key, value in values.items())])


def read_member(
    text: str, folds: int, unless_told: str = "", *, linear: bool = False, blocks: bool = False
) -> Member:
    """Read a member.

    Parameters
    ----------
    text : str
        ``name:key=value:key=value``.
    folds : int
        Folds of the ensemble, which a member that searches chooses by.
    unless_told : str
        Calibration of a member that names none; empty for its own default.
    linear : bool
        Whether it must be a linear head.
    blocks : bool
        Whether it may say which columns it sees, as ``ridge:block=images``.

    Raises
    ------
    SettingsError
        If it is unknown, an ensemble itself, of another kind, or has a wrong setting.
    """
    from common.learners import LEARNERS
    from common.learners.ensemble.ensemble_head import EnsembleHead
    from common.learners.tuning.head import TunedHead

    name, values = parse_member(text)
    known = [
        key
        for key, (head, _) in LEARNERS.items()
        if not issubclass(head, EnsembleHead | TunedHead)
        and (issubclass(head, LinearHead) or not linear)
    ]
    if name not in known:
        raise SettingsError(
            f"learner settings: member {name!r} cannot be one; choose one of: {', '.join(known)}"
        )
    block = values.pop("block", ALL) if blocks else ALL
    if block not in BLOCKS:
        raise SettingsError(
            f"learner settings: member {name}: block {block!r} is unknown; choose one of: "
            f"{', '.join(BLOCKS)}"
        )
    for key in _OF_ENSEMBLE:
        if key in values:
            raise SettingsError(
                f"learner settings: member {name}: {key} is the ensemble's, not a member's"
            )
    kind = LEARNERS[name][0].settings_type
    given: dict[str, object] = dict(values)
    if "search" in values:
        if not folds:
            raise SettingsError(
                f"learner settings: member {name} searches; give folds=K beside the members"
            )
        given["folds"] = folds
    if unless_told and "calibrate" in kind.model_fields:
        given.setdefault("calibrate", unless_told)
    return Member(name, check_settings(kind, given, of=f"learner settings: member {name}"), block)


def learners_of(settings: LearnerSettings) -> tuple[str, ...]:
    """Name the learners that settings of an ensemble, or of tuning, ask for; none of another."""
    from common.learners.tuning.settings import TunedSettings

    if isinstance(settings, TunedSettings):
        made = settings.candidates_made()
        inner = [name for one in made for name in learners_of(one.settings)]
        return tuple(dict.fromkeys([settings.learner, *inner]))
    if not isinstance(settings, EnsembleSettings):
        return ()
    return tuple(dict.fromkeys(member.name for member in settings.members_made()))


def uncalibrated(text: str) -> str:
    """Write a member that needs no held-out images."""
    from common.learners import LEARNERS

    name, values = parse_member(text)
    if name in LEARNERS and "calibrate" in LEARNERS[name][0].settings_type.model_fields:
        values["calibrate"] = "none"
    return format_member(name, values)


def without_search(text: str) -> str:
    """Write a member as an estimator has it: it searches nothing within a plain fit."""
    name, values = parse_member(text)
    kept = {key: value for key, value in values.items() if key not in ("search", "search_seed")}
    return format_member(name, kept)


def positions(head: Head, classes: NDArray[Any]) -> NDArray[np.intp]:
    """Tell where a head's classes are among all classes."""
    place = {name: index for index, name in enumerate(classes.tolist())}
    return np.array([place[name] for name in head.classes_.tolist()], dtype=np.intp)


def probabilities(head: Head, classes: NDArray[Any], x: NDArray[Any]) -> NDArray[np.float64]:
    """Give a head's probabilities over all classes, 0 for those that it does not know."""
    found = np.zeros((len(x), len(classes)))
    if len(x):
        found[:, positions(head, classes)] = head.predict_proba(x)
    return found
