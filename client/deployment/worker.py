"""Answers the messages that a site's SuperNode takes in, one after the other.

It stands in the place of Flower's SuperExec and `flwr-clientapp`: it asks the SuperNode's Runtime
API for tasks with the same shared secret, but runs the site's own installed ClientApp instead of
the bundle's, in this process instead of a new one for each message.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flwr.app import Message
from flwr.common.constant import SubStatus
from flwr.proto.runtime_pb2 import AcquireTaskRequest
from flwr.supercore.constant import TaskType
from flwr.supercore.heartbeat import HeartbeatSender, make_task_heartbeat_fn_http
from flwr.supercore.interceptors import (
    RuntimeTokenHttpInterceptor,
    RuntimeVersionHttpInterceptor,
    SuperExecAuthHttpInterceptor,
)
from flwr.supercore.protobuf.client import ProtobufClientInterceptor
from flwr.supercore.retry import make_simple_http_retry_invoker
from flwr.supercore.runtime import RuntimeHttpClient
from flwr.supernode.runtime.run_clientapp import pull_task_input, push_message, push_task_output

from common.errors import DermafedError

if TYPE_CHECKING:
    from client.deployment.answering import Answering

_LOG = logging.getLogger(__name__)

WAITING = "waiting for messages"
_POLL = 0.1
_MOST_THREADS = 16
_KINDS = {"query.join", "train.contribute", "train.finetune", "evaluate.sums", "evaluate.network"}
# What learners and features take is given back by ending: the supervisor starts it again.
_IDLE = 300.0
_ACQUIRE = frozenset({"/flwr.proto.Runtime/AcquireTask"})


@dataclass(frozen=True)
class Counted:
    """What a worker tells of a message: to its metrics.

    Attributes
    ----------
    kind : str
        What was asked.
    seconds : float
        How long it took.
    bytes_up : int
        What left.
    refused : bool
        Whether it was refused.
    """

    kind: str
    seconds: float
    bytes_up: int
    refused: bool


class Worker:
    """Answers messages until interrupted, or idle after some.

    Each message has a thread, which fetches it and sends the answer: one whose content never
    comes, because its run has ended, must not hold up the next. Answers are made one at a time.

    Parameters
    ----------
    address : str
        ``host:port`` of the SuperNode's Runtime API, on loopback.
    secret : bytes
        Shared with the SuperNode.
    make_answering : callable
        Makes what answers, at the first message: a site that waits holds no learner.
    count : callable
        Called after each message.
    """

    def __init__(
        self,
        address: str,
        secret: bytes,
        make_answering: Callable[[], Answering],
        count: Callable[[Counted], None],
    ) -> None:
        self._address, self._secret, self._count = address, secret, count
        self._make_answering = make_answering
        self._answering: Answering | None = None
        self._one_at_a_time = threading.Lock()
        self._last = time.monotonic()
        self._threads: list[threading.Thread] = []
        self._failure: DermafedError | None = None

    def run(self) -> None:
        """Work.

        Raises
        ------
        DermafedError
            If the site may answer nothing any more, such as when its trail cannot be written.
        """
        authenticate = SuperExecAuthHttpInterceptor(
            master_secret=self._secret, protected_methods=_ACQUIRE
        )
        client = _client(self._address, "SuperExec", authenticate)
        _LOG.info(WAITING)
        types = [TaskType.CLIENT_APP.value]
        try:
            while not self._may_end():
                if self._failure is not None:
                    raise self._failure
                found = client.AcquireTask(AcquireTaskRequest(supported_task_types=types))
                if found.HasField("task") and found.token:
                    thread = threading.Thread(target=self._answer, args=(found.token,), daemon=True)
                    thread.start()
                    self._threads.append(thread)
                else:
                    time.sleep(_POLL)
        finally:
            client.close()

    def _may_end(self) -> bool:
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if self._answering is None or self._one_at_a_time.locked():
            return False
        return time.monotonic() - self._last > _IDLE or len(self._threads) > _MOST_THREADS

    def _answer(self, token: str) -> None:
        """Answer one message; what goes wrong on the way is logged, and Flower times it out."""
        client = _client(self._address, "flwr-clientapp", RuntimeTokenHttpInterceptor(token))
        heartbeat = HeartbeatSender(make_task_heartbeat_fn_http(client))
        heartbeat.start()
        try:
            message, context, _, bundle = pull_task_input(client)
            start = time.monotonic()
            with self._one_at_a_time:
                self._answering = self._answering or self._make_answering()
                reply = self._answering.answer(message, context, bundle.content)
                self._last = time.monotonic()
            push_message(client, reply, context)
            push_task_output(client, context, SubStatus.COMPLETED, "")
            self._tell(message, _counted(message, reply, time.monotonic() - start))
        except DermafedError as error:
            self._failure = error
        # Whatever Flower raises of its own: the thread ends, and with its heartbeat the message.
        except Exception:  # noqa: BLE001
            _LOG.exception("a message was lost between worker and SuperNode")
        finally:
            heartbeat.stop()
            client.close()

    def _tell(self, message: Message, counted: Counted) -> None:
        self._count(counted)
        about = message.metadata
        _LOG.info(
            "%s in %.2f s, %d bytes",
            "refused" if counted.refused else "answered",
            counted.seconds,
            counted.bytes_up,
            extra={
                "run": str(about.run_id),
                "round": about.group_id,
                "kind": about.message_type,
            },
        )


def _counted(message: Message, reply: Message, seconds: float) -> Counted:
    size = sum(one.count_bytes() for one in reply.content.values()) if reply.has_content() else 0
    # A name that nobody knows is the coordinator's invention, and no series of a metric.
    kind = message.metadata.message_type
    return Counted(kind if kind in _KINDS else "other", seconds, size, not reply.has_content())


def _client(
    address: str, component: str, interceptor: ProtobufClientInterceptor
) -> RuntimeHttpClient:
    return RuntimeHttpClient.from_server_address(
        server_address=address,
        insecure=True,
        root_certificates=None,
        interceptors=[RuntimeVersionHttpInterceptor(component_name=component), interceptor],
        retry_invoker=make_simple_http_retry_invoker(),
    )
