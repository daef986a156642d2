"""The plan of staged unfreezing: which part of the network is trained, and for how many rounds."""

from __future__ import annotations

from dataclasses import dataclass

from common.errors import SettingsError

HEAD, ALL = "head", "all"


@dataclass(frozen=True)
class Phase:
    """Rounds in which the same part of the network is trained.

    Attributes
    ----------
    depth : int
        Stages of the trunk that are trained, counted from the classifier; 0 for the head alone.
    rounds : int
        How many rounds.
    """

    depth: int
    rounds: int


@dataclass(frozen=True)
class Place:
    """Where a round lies in the plan.

    Attributes
    ----------
    phase : Phase
        Its phase.
    position : int
        Its number within the phase, from 0.
    """

    phase: Phase
    position: int


def parse_plan(text: str, stages: int) -> tuple[Phase, ...]:
    """Read ``"head:2,1:5,all:20"``: depth and rounds of each phase.

    Parameters
    ----------
    text : str
        Depths are ``head``, a number of stages, or ``all``. Each phase goes deeper than the one
        before, so that what is frozen still has the pretrained weights.
    stages : int
        Stages of the trunk.

    Raises
    ------
    SettingsError
        If it is no plan, or not for this trunk.
    """
    phases: list[Phase] = []
    for item in text.split(","):
        depth, _, rounds = item.strip().partition(":")
        named = {HEAD: "0", ALL: str(stages)}.get(depth, depth)
        if not named.isdecimal() or not rounds.isdecimal() or len(rounds) > 5 or int(rounds) < 1:
            raise SettingsError(
                f"training setting plan: {item!r} is not DEPTH:ROUNDS, as head:2, 3:10 or all:20"
            )
        if int(named) > stages:
            raise SettingsError(
                f"training setting plan: {item!r} is deeper than the trunk's {stages} stages"
            )
        if phases and int(named) <= phases[-1].depth:
            raise SettingsError(f"training setting plan: {item!r} goes no deeper than before")
        phases.append(Phase(int(named), int(rounds)))
    return tuple(phases)


def total_rounds(plan: tuple[Phase, ...]) -> int:
    """Count the rounds of all phases."""
    return sum(phase.rounds for phase in plan)


def place_of(plan: tuple[Phase, ...], number: int) -> Place:
    """Find a round's place.

    Parameters
    ----------
    plan : tuple of Phase
        The plan.
    number : int
        The round, from 1.

    Raises
    ------
    ValueError
        If the plan has no such round.
    """
    left = number - 1
    for phase in plan:
        if 0 <= left < phase.rounds:
            return Place(phase, left)
        left -= phase.rounds
    raise ValueError(f"round {number}: the plan has {total_rounds(plan)}")
