"""Messages out, replies in: a bounded window, a deadline, and the order of the asking."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from flwr.app import Message, RecordDict
from flwr.common.constant import ErrorCode
from flwr.serverapp import Grid

from common.errors import ContributionError

_FIRST_PAUSE, _LONGEST_PAUSE = 0.001, 1.0
_LOOK_EVERY = 5.0
# What Flower says in a node's place: the site itself has refused nothing.
_LOST = {
    ErrorCode.MESSAGE_UNAVAILABLE,
    ErrorCode.REPLY_MESSAGE_UNAVAILABLE,
    ErrorCode.NODE_UNAVAILABLE,
    ErrorCode.CLIENT_APP_CRASHED,
}


@dataclass
class Asked:
    """One node that was asked something.

    Attributes
    ----------
    node_id : int
        The node.
    reply : Message or None
        Its reply, once it is there.
    problem : str
        Why there is none, or why it is refused.
    """

    node_id: int
    reply: Message | None = None
    problem: str = ""
    message: Message | None = field(default=None, repr=False)
    message_id: str = field(default="", repr=False)
    given_up_at: float = field(default=math.inf, repr=False)
    again: int = field(default=0, repr=False)
    lost: str = field(default="", repr=False)

    def content(self) -> RecordDict:
        """Give the reply's content.

        Raises
        ------
        ContributionError
            If there is none, saying why.
        """
        if self.reply is None or not self.reply.has_content():
            raise ContributionError(self.problem or "the reply is empty")
        return self.reply.content


def collect(
    grid: Grid,
    messages: Iterable[Message],
    *,
    window: int,
    deadline: float,
    retries: int = 0,
    notice: Callable[[int, bool], None] | None = None,
) -> Iterator[Asked]:
    """Send messages and yield each node's reply, in the order of the messages.

    At most `window` messages are in flight or waiting behind an earlier one, so that memory is
    bounded whatever the number of sites, and a sum taken in this order does not depend on which
    site answers first.

    Parameters
    ----------
    grid : Grid
        Flower's way to the nodes.
    messages : iterable of Message
        One a node; made only when there is room for it.
    window : int
        Messages in flight or waiting, at most.
    deadline : float
        Seconds after its message was sent at which a node that has not answered is given up. Each
        node has its own, so that a silent one that holds the window up costs no other its turn;
        with more nodes than the window, all of it may thus take several deadlines.
    retries : int
        How often a node is asked again, within its deadline, once Flower has told that it is gone
        or that the message is lost. It is asked when it is back; an answer to an earlier message
        is then refused.
    notice : callable or None
        Called with a node that is waited for, and False, when it has gone offline; and True, when
        it is back.

    Yields
    ------
    Asked
        With a reply or a problem. A reply that nobody asked for, comes twice or comes from
        another node is never yielded.
    """
    waiting: deque[Asked] = deque()
    pause = _FIRST_PAUSE
    upcoming = iter(messages)
    exhausted = False
    watch = _Watch(grid, notice)
    while True:
        while not exhausted and len(waiting) < window:
            message = next(upcoming, None)
            if message is None:
                exhausted = True
            else:
                waiting.append(_push(grid, message))
                waiting[-1].given_up_at = time.monotonic() + deadline
        if not waiting:
            return
        arrived = _pull(grid, waiting)
        _ask_again(grid, waiting, retries)
        if not arrived:
            watch.look(waiting)
            time.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE)
        else:
            pause = _FIRST_PAUSE
        now = time.monotonic()
        for asked in waiting:
            if asked.reply is None and not asked.problem and now >= asked.given_up_at:
                lost = f"; {asked.lost}" if asked.lost else ""
                asked.problem = f"no reply within {deadline:g} s{lost}"
        while waiting and (waiting[0].reply is not None or waiting[0].problem):
            yield waiting.popleft()


@dataclass
class _Watch:
    """Tells which of the nodes that are waited for come and go."""

    grid: Grid
    notice: Callable[[int, bool], None] | None
    gone: set[int] = field(default_factory=set)
    looked: float = field(default_factory=lambda: time.monotonic())

    def look(self, waiting: Iterable[Asked]) -> None:
        if self.notice is None or time.monotonic() - self.looked < _LOOK_EVERY:
            return
        self.looked = time.monotonic()
        there = set(self.grid.get_node_ids())
        for asked in waiting:
            node = asked.node_id
            if asked.reply is None and node not in there and node not in self.gone:
                self.gone.add(node)
                self.notice(node, False)
        for node in self.gone & there:
            self.gone.remove(node)
            self.notice(node, True)


def _push(grid: Grid, message: Message) -> Asked:
    asked = Asked(message.metadata.dst_node_id, message=message)
    _send(grid, asked, message)
    return asked


def _send(grid: Grid, asked: Asked, message: Message) -> None:
    sent = list(grid.push_messages([message]))
    if len(sent) == 1 and sent[0]:
        asked.message_id = sent[0]
    else:
        asked.problem = "the message could not be sent"


def _ask_again(grid: Grid, waiting: deque[Asked], retries: int) -> None:
    """Send lost messages anew, to nodes that are there."""
    lost = [asked for asked in waiting if asked.lost and not asked.message_id]
    if not lost:
        return
    there = set(grid.get_node_ids())
    for asked in lost:
        first = asked.message
        if asked.again >= retries or first is None:
            asked.problem = asked.lost
        elif asked.node_id in there:
            about = first.metadata
            anew = Message(
                first.content,
                about.dst_node_id,
                about.message_type,
                ttl=about.ttl,
                group_id=about.group_id,
            )
            asked.again += 1
            _send(grid, asked, anew)


def _pull(grid: Grid, waiting: deque[Asked]) -> bool:
    """Take what has arrived; tell whether anything has."""
    open_ = {
        asked.message_id: asked
        for asked in waiting
        if asked.message_id and asked.reply is None and not asked.problem
    }
    if not open_:
        # Nothing to wait for, unless it is for a lost node.
        return not any(asked.lost and asked.reply is None for asked in waiting)
    arrived = False
    for reply in grid.pull_messages(list(open_)):
        asked = open_.get(reply.metadata.reply_to_message_id)
        # Not asked for, or a second reply to the same message: the first one counts.
        if asked is None or asked.reply is not None or asked.problem or not asked.message_id:
            continue
        arrived = True
        if reply.has_error():
            problem = f"error {reply.error.code}: {reply.error.reason or 'no reason given'}"
            if reply.error.code in _LOST:
                asked.lost, asked.message_id = problem, ""
            else:
                asked.problem = problem
        elif reply.metadata.src_node_id != asked.node_id:
            asked.problem = f"answered by another node ({reply.metadata.src_node_id})"
        else:
            asked.reply = reply
        # One that was sent again is still to be weighed.
        if not asked.again and (asked.reply is not None or asked.problem):
            asked.message = None
    return arrived
