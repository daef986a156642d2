"""A SuperNode that waits for the answer to what it has pulled, not for any answer.

Flower's pulls a message, waits until there is an answer, sends it, and pulls the next. Where a run
is stopped just as a message of it arrives, an answer to that one comes to lie there minutes later.
It is then sent in the place of the answer to the next run's message, which stays where it is until
another message comes; and the coordinator waits for it, until the round's deadline.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType, SimpleNamespace

from flwr.app import Message

Receive = Callable[[], tuple[Message, object] | None]

_PULL, _PUSH = "_pull_and_store_message", "_push_messages"


def answer_in_turn(flowers: ModuleType | SimpleNamespace) -> None:
    """Have Flower's loop send answers until that to the message pulled last is among them.

    Parameters
    ----------
    flowers : module
        Flower's ``flwr.supernode.start_client_internal``, whose two functions are replaced.
    """
    pull: Callable[..., int | None] = vars(flowers)[_PULL]
    push: Callable[..., None] = vars(flowers)[_PUSH]
    asked: list[str] = []

    def pull_and_note(*, receive: Receive, **given: object) -> int | None:
        asked.clear()

        def received() -> tuple[Message, object] | None:
            found = receive()
            if found is not None:
                asked.append(found[0].metadata.message_id)
            return found

        return pull(receive=received, **given)

    def push_until_answered(*, send: Callable[..., object], **given: object) -> None:
        answered: set[str] = set()

        def sent(message: Message, *rest: object) -> object:
            answered.add(message.metadata.reply_to_message_id)
            return send(message, *rest)

        push(send=sent, **given)
        while not answered.issuperset(asked):
            push(send=sent, **given)

    vars(flowers).update({_PULL: pull_and_note, _PUSH: push_until_answered})
