"""What Flower's SuperLink knows of nodes and runs, asked through its Control API on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from common.deployment.ports import LOOPBACK
from common.errors import DeploymentError
from server.deployment.certificate import refuse_certificate
from server.deployment.programs import AUTHORITY
from server.deployment.settings import CoordinatorFile

if TYPE_CHECKING:
    from flwr.supercore.control import ControlHttpClient


@dataclass(frozen=True)
class NodeSeen:
    """A node.

    Attributes
    ----------
    state : str
        ``registered`` (never seen yet), ``online`` or ``offline``.
    since : str
        When it came or went, ISO 8601; empty if never.
    """

    state: str
    since: str


@dataclass(frozen=True)
class RunSeen:
    """A run.

    Attributes
    ----------
    state : str
        ``pending``, ``starting``, ``running`` or ``finished``.
    outcome : str
        Of a finished one: ``completed``, ``failed`` or ``stopped``; else empty.
    details : str
        Why it failed.
    """

    state: str
    outcome: str
    details: str


@dataclass(frozen=True)
class Seen:
    """What the SuperLink tells.

    Attributes
    ----------
    nodes : dict of int to NodeSeen
        By node.
    runs : dict of str to RunSeen
        By Flower's number.
    """

    nodes: dict[int, NodeSeen]
    runs: dict[str, RunSeen]


def ask_superlink(folder: Path, settings: CoordinatorFile) -> Seen:
    """Ask for nodes and runs.

    Raises
    ------
    DeploymentError
        If the SuperLink does not answer.
    """
    # Here, so that asking for help imports no Flower.
    from flwr.proto.control_pb2 import ListNodesRequest, ListRunsRequest

    with _client(folder, settings) as client:
        nodes = {
            node.node_id: NodeSeen(
                node.status,
                node.last_activated_at if node.status == "online" else node.last_deactivated_at,
            )
            for node in client.ListNodes(ListNodesRequest()).nodes_info
        }
        runs = {
            str(run.run_id): RunSeen(run.status.status, run.status.sub_status, run.status.details)
            for run in client.ListRuns(ListRunsRequest()).run_dict.values()
        }
    return Seen(nodes, runs)


@contextmanager
def _client(folder: Path, settings: CoordinatorFile) -> Iterator[ControlHttpClient]:
    from flwr.supercore.control import ControlHttpClient
    from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor

    address = f"{LOOPBACK}:{settings.flower_port}"
    client = ControlHttpClient.from_server_address(
        server_address=address,
        insecure=False,
        root_certificates=(folder / AUTHORITY).read_bytes(),
        interceptors=[RuntimeVersionHttpInterceptor(component_name="flwr-cli")],
        retry_invoker=None,
    )
    try:
        yield client
    except httpx.HTTPError as error:
        refuse_certificate(folder)
        raise DeploymentError(
            f"the coordinator does not answer on {address}; dermafed coordinator start"
        ) from error
    finally:
        client.close()
