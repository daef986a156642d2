"""Why a site is not taken into a run, in words fit for a terminal, a log and a result."""

from __future__ import annotations

from collections.abc import Mapping

from common.errors import ContributionError, RoundError
from common.site_info import SiteInfo

STRANGER = "its key is no invited site's"
_MAX_PROBLEM = 300


def refuse_doubles(joined: Mapping[int, SiteInfo]) -> None:
    """Refuse nodes that say that they are the same site.

    Raises
    ------
    RoundError
        Naming the nodes and the site.
    """
    nodes: dict[str, list[int]] = {}
    for node, info in joined.items():
        nodes.setdefault(info.site, []).append(node)
    for name, of_name in nodes.items():
        if len(of_name) > 1:
            raise RoundError(f"nodes {of_name} all say that they are site {name}; stop all but one")


def refuse_impostor(node: int, info: SiteInfo, invited: Mapping[int, str] | None) -> None:
    """Refuse a node that says that it is another site than the one its key was registered for.

    Raises
    ------
    ContributionError
        Naming both.
    """
    if invited is None or invited.get(node) == info.site:
        return
    raise ContributionError(f"says that it is {info.site}, but its key is {invited[node]}'s")


def one_line(problem: object) -> str:
    """Make text that a site may have written fit for a terminal, a log and a result."""
    text = "".join(char if char.isprintable() else " " for char in str(problem)[:_MAX_PROBLEM])
    return text.strip()


def disagreement(info: SiteInfo, wanted: Mapping[str, object]) -> str:
    """Say in what a site differs from the task, or nothing."""
    if info.images == 0:
        return "has no image"
    for name, value in wanted.items():
        mine = getattr(info, name)
        if mine != value:
            return f"its {name} is {mine}, the run has {value}"
    return ""
