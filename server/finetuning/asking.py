"""A round that is asked again until enough sites answer as they must."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from flwr.app import RecordDict

from common.errors import ContributionError, RoundError
from common.site_info import SiteInfo
from server.collect import Asked
from server.link import Link
from server.refusal import one_line

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Answers(Generic[Answer]):
    """What the sites of a round that counts answered.

    Attributes
    ----------
    of : dict
        Answer by site name, in the order of the names.
    left_out : dict of str to str
        Sites that do not count in this round, with the reasons.
    repeats : int
        How often the round was repeated.
    """

    of: dict[str, Answer]
    left_out: dict[str, str]
    repeats: int


@dataclass(frozen=True)
class Repeats:
    """What becomes of a round below the quorum.

    Attributes
    ----------
    most : int
        How often it is repeated.
    told : callable
        Told what kind of round is repeated, its number, and the sites that did not count.
    """

    most: int
    told: Callable[[str, int, dict[str, str]], None]


def ask_until_quorum(
    link: Link,
    sites: Mapping[int, SiteInfo],
    repeats: Repeats,
    what: str,
    number: int,
    messages: Mapping[int, RecordDict],
    kind: str,
    check: Callable[[Asked], Answer],
) -> Answers[Answer]:
    """Ask until enough sites answer as they must.

    Parameters
    ----------
    link : Link
        Asks nodes, and has the policy of rounds.
    sites : mapping of int to SiteInfo
        By node id.
    repeats : Repeats
        What becomes of a round below the quorum.
    what, number : str, int
        What an operator calls the round.
    messages : mapping of int to RecordDict
        To each node that is asked.
    kind : str
        Flower's type of the messages.
    check : callable
        Makes the answer of a reply; raises ContributionError where it is none.

    Raises
    ------
    RoundError
        If the round stays below the quorum, however often it is repeated.
    """
    asked_of = len(messages)
    quorum = min(link.policy.quorum or asked_of, asked_of)
    repeat = 0
    while True:
        answered: dict[str, Answer] = {}
        refused: dict[str, str] = {}
        outgoing = (link.message(one, node, kind) for node, one in messages.items())
        for asked in link.ask(outgoing):
            site = sites[asked.node_id].site
            try:
                answered[site] = check(asked)
            except ContributionError as error:
                refused[site] = one_line(error)
        for site, problem in refused.items():
            link.report(f"round {number}, {what}: {site} left out: {problem}")
        if len(answered) >= quorum:
            return Answers(answered, refused, repeat)
        count = f"{len(answered)} of {asked_of} sites count, {quorum} are needed"
        if repeat == repeats.most:
            reasons = "; ".join(f"{site}: {problem}" for site, problem in refused.items())
            raise RoundError(f"round {number}, {what}: {count}, after {repeat} repeats. {reasons}")
        link.report(f"round {number}, {what}: {count}; it is repeated")
        repeats.told(what, number, refused)
        repeat += 1
