"""Answers the messages that a site's SuperNode takes in, one after the other.

It stands in the place of Flower's SuperExec and `flwr-clientapp`: it asks the SuperNode's Runtime
API for tasks with the same shared secret, but runs the site's own installed ClientApp instead of
the bundle's, in this process instead of a new one for each message.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
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

if TYPE_CHECKING:
    from client.deployment.answering import Answering

_LOG = logging.getLogger(__name__)

_POLL = 0.1
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


def work(
    address: str,
    secret: bytes,
    make_answering: Callable[[], Answering],
    count: Callable[[Counted], None],
) -> None:
    """Answer messages until interrupted, or idle after some.

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
    answering: Answering | None = None
    authenticate = SuperExecAuthHttpInterceptor(master_secret=secret, protected_methods=_ACQUIRE)
    client = _client(address, "SuperExec", authenticate)
    last = time.monotonic()
    try:
        while True:
            found = client.AcquireTask(
                AcquireTaskRequest(supported_task_types=[TaskType.CLIENT_APP.value])
            )
            if found.HasField("task") and found.token:
                answering = answering or make_answering()
                _answer(address, found.token, answering, count)
                last = time.monotonic()
            elif answering is not None and time.monotonic() - last > _IDLE:
                return
            else:
                time.sleep(_POLL)
    finally:
        client.close()


def _answer(
    address: str, token: str, answering: Answering, count: Callable[[Counted], None]
) -> None:
    """Answer one message; what goes wrong on the way is logged, and the SuperNode times it out."""
    client = _client(address, "flwr-clientapp", RuntimeTokenHttpInterceptor(token))
    heartbeat = HeartbeatSender(make_task_heartbeat_fn_http(client))
    heartbeat.start()
    start = time.monotonic()
    try:
        message, context, _, bundle = pull_task_input(client)
        reply = answering.answer(message, context, bundle.content)
        push_message(client, reply, context)
        push_task_output(client, context, SubStatus.COMPLETED, "")
        counted = _counted(message, reply, time.monotonic() - start)
        count(counted)
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
    except (httpx.HTTPError, RuntimeError) as error:
        _LOG.error("a message was lost between the worker and its SuperNode: %s", error)
    finally:
        heartbeat.stop()
        client.close()


def _counted(message: Message, reply: Message, seconds: float) -> Counted:
    size = sum(one.count_bytes() for one in reply.content.values()) if reply.has_content() else 0
    return Counted(message.metadata.message_type, seconds, size, not reply.has_content())


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
