"""A coordinator's way to the sites: who is there, messages and what they weigh, the quorum."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from common import wire
from common.errors import ContributionError, RoundError
from common.site_info import SiteInfo
from server.collect import Asked, collect
from server.refusal import STRANGER, disagreement, one_line, refuse_doubles, refuse_impostor

_NODE_PAUSE = 0.1


@dataclass(frozen=True)
class RoundPolicy:
    """When a round counts.

    Attributes
    ----------
    quorum : int
        Sites that must answer; 0 for every site asked.
    deadline : float
        Seconds that a site may take to answer, and that nodes may take to come online.
    window : int
        Messages in flight or waiting to be added, at most.
    retries : int
        How often a site that was lost in mid-round is asked again, once it is back.
    """

    quorum: int = 0
    deadline: float = 600.0
    window: int = 16
    retries: int = 2


@dataclass
class Traffic:
    """What went over the wire.

    Attributes
    ----------
    rounds : int
        Rounds of learning.
    stages : dict of str to int
        How many of them each of the learner's stages took.
    bytes_down, bytes_up : int
        Content of messages to and from sites, before transport encoding.
    """

    rounds: int = 0
    stages: dict[str, int] = field(default_factory=dict)
    bytes_down: int = 0
    bytes_up: int = 0


@dataclass
class Link:
    """Asks the nodes of a grid.

    Attributes
    ----------
    grid : Grid
        Flower's way to the nodes.
    policy : RoundPolicy
        When a round counts.
    report : callable
        Called with a line of text for each thing that an operator should know.
    traffic : Traffic
        What went over the wire so far.
    left_out : dict of str to str
        Sites that were refused or lost, with the reasons.
    names : dict of int to str
        Names of the sites that have joined, by node.
    """

    grid: Grid
    policy: RoundPolicy
    report: Callable[[str], None]
    traffic: Traffic = field(default_factory=Traffic)
    left_out: dict[str, str] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)

    def join(
        self,
        expected: int,
        backbone: str,
        split_seed: int,
        without: Collection[str] = (),
        invited: Mapping[int, str] | None = None,
    ) -> dict[int, SiteInfo]:
        """Ask every node who it is.

        Parameters
        ----------
        expected : int
            Nodes to wait for; 0 for those online. After the deadline, a quorum of them is enough.
        backbone : str
            Fingerprint of the backbone that every site must use.
        split_seed : int
            Seed that every site must split by.
        without : collection of str
            Sites that have withdrawn: they are left out and asked nothing more.
        invited : mapping of int to str or None
            Which node is which site; any other node is named and asked nothing. None to believe
            what nodes say.

        Returns
        -------
        dict of int to SiteInfo
            By node id, in the order of the sites' names.

        Raises
        ------
        RoundError
            If nodes do not come, two have one name, or too few agree on the task.
        """
        # A key tells who a node is, whatever it says, and before it says anything.
        self.names.update(invited or {})
        nodes, strangers = self._wait_for_nodes(expected, invited)
        # The quorum is of the invited sites: nobody else may end their run.
        self._leave_out("join", {f"node {node}": STRANGER for node in strangers})
        joined: dict[int, SiteInfo] = {}
        refused = {
            name: "was not online when the run began"
            for node, name in (invited or {}).items()
            if node not in nodes and name not in without
        }
        messages = (self.message(RecordDict(), node, wire.JOIN) for node in nodes)
        for asked in self.ask(messages):
            try:
                info = wire.decode_site_info(asked.content())
                refuse_impostor(asked.node_id, info, invited)
                joined[asked.node_id] = info
            except ContributionError as error:
                refused[self._name(asked.node_id)] = one_line(error)
        joined = dict(sorted(joined.items(), key=lambda item: item[1].site))
        self.names.update((node, info.site) for node, info in joined.items())
        refuse_doubles(joined)
        gone = {node for node, info in joined.items() if info.site in without}
        for node in gone:
            self.left_out[joined.pop(node).site] = "withdrawn"
        # The task is what most sites say, so that no single site can turn the others out.
        tasks = Counter((info.classes, info.malignant) for info in joined.values())
        classes, malignant = tasks.most_common(1)[0][0] if tasks else ((), ())
        wanted = {
            "backbone": backbone,
            "split_seed": split_seed,
            "classes": classes,
            "malignant": malignant,
        }
        for info in joined.values():
            problem = disagreement(info, wanted)
            if problem:
                refused[info.site] = one_line(problem)
        joined = {node: info for node, info in joined.items() if info.site not in refused}
        self._require_quorum("join", len(nodes) - len(gone), len(joined), refused)
        return joined

    def ask(self, messages: Iterator[Message]) -> Iterator[Asked]:
        """Send messages and yield the replies, in the order of the messages, counting bytes."""
        policy = self.policy
        for asked in collect(
            self.grid,
            messages,
            window=policy.window,
            deadline=policy.deadline,
            retries=policy.retries,
            notice=self._notice,
        ):
            if asked.again:
                self.report(f"{self._name(asked.node_id)}: was lost, and asked again")
                if asked.message is not None:
                    bytes_again = wire.count_bytes(asked.message.content)
                    self.traffic.bytes_down += asked.again * bytes_again
            if asked.reply is not None and asked.reply.has_content():
                try:
                    self.traffic.bytes_up += wire.count_bytes(asked.reply.content)
                except ValueError:
                    # Flower cannot count an empty text, and no right reply holds one.
                    asked.reply, asked.problem = None, "the reply holds an empty text"
            yield asked

    def message(self, content: RecordDict, node: int, kind: str) -> Message:
        """Make a message to a node, counting its bytes."""
        self.traffic.bytes_down += wire.count_bytes(content)
        ttl = self.policy.deadline + 60.0
        return Message(content, node, kind, group_id=str(self.traffic.rounds + 1), ttl=ttl)

    def _name(self, node: int) -> str:
        return self.names.get(node, f"node {node}")

    def _notice(self, node: int, there: bool) -> None:
        self.report(f"{self._name(node)}: {'is back' if there else 'went offline'}")

    def _wait_for_nodes(
        self, expected: int, invited: Mapping[int, str] | None
    ) -> tuple[list[int], list[int]]:
        """Give the nodes that may take part, once there are as many as expected, and the others."""
        end = time.monotonic() + self.policy.deadline
        while True:
            there = sorted(self.grid.get_node_ids())
            nodes = [node for node in there if invited is None or node in invited]
            late = time.monotonic() >= end
            if len(nodes) >= max(expected, 1) or (late and 0 < self.policy.quorum <= len(nodes)):
                return nodes, [node for node in there if node not in nodes]
            if late:
                raise RoundError(
                    f"{len(nodes)} of {max(expected, 1)} sites are online after "
                    f"{self.policy.deadline:g} s; start the others, or lower the setting sites"
                )
            time.sleep(_NODE_PAUSE)

    def _leave_out(self, what: str, refused: Mapping[str, str]) -> None:
        self.left_out.update(refused)
        for name, problem in refused.items():
            self.report(f"{what}: {name} left out: {problem}")

    def _require_quorum(
        self, what: str, asked: int, answered: int, refused: Mapping[str, str]
    ) -> None:
        self._leave_out(what, refused)
        quorum = self.policy.quorum or asked
        if answered < quorum or answered == 0:
            reasons = "; ".join(f"{name}: {problem}" for name, problem in refused.items())
            raise RoundError(
                f"{what}: {answered} of {asked} sites count, {quorum} are needed. {reasons}"
            )
