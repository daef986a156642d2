"""A site's worker that answers wrongly: ``hostile_worker.py FOLDER FAULT SECONDS TRAIL KINDS``.

It stands in the place of the real one, with the site's real key, beside its real SuperNode: a
hostile site controls its own machine.
"""

from __future__ import annotations

import copy
import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_ssh_private_key
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.app.message import remove_content_from_message
from flwr.common.serde import message_to_proto
from flwr.proto.fleet_pb2 import PushMessagesRequest
from flwr.proto.node_pb2 import Node
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    get_object_tree,
    no_object_id_recompute,
)
from flwr.supercore.inflatable.inflatable_protobuf_utils import make_push_object_fn_protobuf
from flwr.supercore.inflatable.inflatable_utils import push_objects
from flwr.supercore.interceptors import RuntimeVersionHttpInterceptor
from flwr.supernode.fleet_http_client import FleetHttpClient
from flwr.supernode.node_auth_http_interceptor import NodeAuthHttpInterceptor

from client.deployment.answering import Answering
from client.deployment.programs import AUTHORITY, KEY, SECRET
from client.deployment.settings import SiteFile, read_site_file
from client.deployment.worker import Worker
from common.deployment.ports import LOOPBACK
from common.trust.files import read_private
from common.wire import CONTRIBUTE, FINETUNE, JUDGE, error_reply

# Written once the fault has happened.
DONE = "done"


def not_finite(content: RecordDict) -> RecordDict:
    """Put NaN into the largest array, be it one of whole numbers."""
    return _changed(
        content,
        lambda array: np.full(
            array.shape, np.nan, array.dtype if array.dtype.kind == "f" else np.float64
        ),
    )


def other_shape(content: RecordDict) -> RecordDict:
    """Leave the last number of the largest array out."""
    return _changed(content, lambda array: array.ravel()[:-1])


def more_images(content: RecordDict) -> RecordDict:
    """Count a thousand images more than the site has registered, wherever it counts them."""
    forged = copy.deepcopy(content)
    arrays = forged["arrays"]
    assert isinstance(arrays, ArrayRecord)
    if "metrics" in forged:
        # Weights come without a count: the steps are what is counted.
        metrics = forged["metrics"]
        assert isinstance(metrics, MetricRecord)
        metrics["steps"] = 2**60
        return forged
    config = forged["config"]
    assert isinstance(config, ConfigRecord)
    config["count"] = int(str(config["count"])) + 1000
    if "class_count" in arrays:
        counts = arrays["class_count"].numpy().copy()
        counts[0] += 1000
        arrays["class_count"] = Array(counts)
    return forged


def more_in_a_cell(content: RecordDict) -> RecordDict:
    """Count a thousand images more in one cell of the largest array, and nowhere else."""

    def more(array: np.ndarray) -> np.ndarray:
        changed = array.copy()
        changed.flat[0] += 1000
        return changed

    return _changed(content, more)


FORGED: dict[str, Callable[[RecordDict], RecordDict]] = {
    "nan": not_finite,
    "shape": other_shape,
    "count": more_images,
    "cell": more_in_a_cell,
}
# What `each` does, one after the other: of weights, of sums.
IN_TURN = {FINETUNE: ("nan", "shape", "count"), JUDGE: ("nan", "shape", "count", "cell")}
# The fault's round of learning, from 1: by the second, the coordinator has a state to start from.
ROUND = {"nan": 2, "shape": 2, "count": 1, "hang": 2, "late": 2}


class Hostile(Answering):
    """Answers some messages wrongly, and all else as the site itself would.

    Parameters
    ----------
    site : SiteFile
        The site.
    folder : Path
        Of the site.
    fault : str
        Of `FORGED`; or ``hang``, ``late`` (after `seconds`), ``twice``; or ``each`` of `IN_TURN`,
        ``refuse``.
    seconds : float
        How late.
    trail : Path
        A folder for its own trail: that of the real worker goes on afterwards.
    kinds : set of str
        Of the messages that it answers wrongly: of learning in the fault's round, else always.
    """

    def __init__(
        self,
        site: SiteFile,
        folder: Path,
        fault: str,
        seconds: float,
        trail: Path,
        kinds: frozenset[str],
    ) -> None:
        super().__init__(site, trail)
        self._site_file, self._folder, self._told = site, folder, trail / DONE
        self._kinds, self._asked = kinds, Counter[str]()
        self._fault, self._seconds = fault, seconds

    def answer(self, message: Message, context: Context, bundle: bytes) -> Message:
        """Answer."""
        reply = super().answer(message, context, bundle)
        kind = message.metadata.message_type
        if kind not in self._kinds:
            return reply
        self._asked[kind] += 1
        if self._fault == "each":
            faults = IN_TURN[kind]
            fault = faults[(self._asked[kind] - 1) % len(faults)]
            reply = Message(FORGED[fault](reply.content), reply_to=message)
        elif self._fault == "refuse":
            reply = error_reply("InternalError", "00000000", message)
        elif self._fault == "twice":
            # Before the first is sent, which gives its arrays away.
            second = Message(not_finite(reply.content), reply_to=message)
            push_past_the_supernode(self._site_file, self._folder, reply)
            reply = second
        elif kind == CONTRIBUTE and self._asked[kind] != ROUND[self._fault]:
            return reply
        elif self._fault == "hang":
            self._told.touch()
            threading.Event().wait()
        elif self._fault == "late":
            time.sleep(self._seconds)
        else:
            reply = Message(FORGED[self._fault](reply.content), reply_to=message)
        self._told.touch()
        return reply


def push_past_the_supernode(site: SiteFile, folder: Path, reply: Message) -> None:
    """Send a reply to the coordinator with the site's key, beside its SuperNode's."""
    key = load_ssh_private_key((folder / KEY).read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert site.membership is not None
    version = RuntimeVersionHttpInterceptor(component_name="SuperNode")
    node = Node(node_id=reply.metadata.src_node_id)
    with (
        FleetHttpClient.from_server_address(
            site.membership.address,
            False,
            str(folder / AUTHORITY),
            interceptors=[version, NodeAuthHttpInterceptor(key, key.public_key())],
        ) as client,
        no_object_id_recompute(),
    ):
        reply.metadata.__dict__["_message_id"] = reply.object_id
        bare = message_to_proto(remove_content_from_message(reply))
        taken = client.PushMessages(
            PushMessagesRequest(
                node=node,
                messages_list=[bare],
                message_object_trees=[get_object_tree(reply)],
                clientapp_runtime_list=[1.0],
            )
        )
        assert taken.objects_to_push, "the SuperLink did not take the first reply"
        push_objects(
            get_all_nested_objects(reply),
            make_push_object_fn_protobuf(
                client.PushObject,
                node,
                run_id=reply.metadata.run_id,
                session_id=taken.session_id,
            ),
            object_ids_to_push=set(taken.objects_to_push),
        )


def _changed(
    content: RecordDict,
    change: Callable[[np.ndarray], np.ndarray],
) -> RecordDict:
    forged = copy.deepcopy(content)
    arrays = forged["arrays"]
    assert isinstance(arrays, ArrayRecord)
    name = max(arrays, key=lambda name: len(arrays[name].data))
    arrays[name] = Array(np.ascontiguousarray(change(arrays[name].numpy())))
    return forged


def main(folder: Path, fault: str, seconds: float, trail: Path, kinds: frozenset[str]) -> None:
    """Answer until killed."""
    logging.basicConfig(level=logging.INFO)
    site = read_site_file(folder)
    Worker(
        f"{LOOPBACK}:{site.port}",
        read_private(folder / SECRET),
        lambda: Hostile(site, folder, fault, seconds, trail, kinds),
        lambda _: None,
    ).run()


if __name__ == "__main__":
    site_folder, named, late, own, wrong = sys.argv[1:]
    main(Path(site_folder), named, float(late), Path(own), frozenset(wrong.split(",")))
