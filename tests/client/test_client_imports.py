"""A fresh process answers each message of a deployed site: what it imports is paid every round."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from common.backbones import get_backbone

_ROUNDS = """
import json, sys
from flwr.app import Context, Message, RecordDict
from flwr.supercore.task_identity import TaskIdentity
TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1

from client.app import app
from common import wire
from common.learners.base import State
import numpy as np

root, answers = sys.argv[1], {}

def ask(kind, content):
    node = {"cohort": root, "site": "dias", "cache": root + "/cache"}
    context = Context(1, 4, node, RecordDict(), {})
    reply = app(Message(content, 4, kind), context)
    return "content" if reply.has_content() else reply.error.reason

front = {
    "class_count": np.ones(7, dtype=np.int64), "mean": np.zeros(1280), "scale": np.ones(1280),
}
head = {**front, "coef": np.zeros((7, 1280)), "intercept": np.zeros(7)}
gram = State("gram", {**front, "class_weight": np.ones(7)})
temperature = State("temperature", {**head, "theta": np.ones((25, 1))})
fitted = State("fitted", {**head, "inverse_temperature": np.ones(7)})
answers = [
    ask(wire.JOIN, RecordDict()),
    ask(wire.CONTRIBUTE, wire.encode_state(State("moments", {}))),
    ask(wire.CONTRIBUTE, wire.encode_state(gram)),
    ask(wire.CONTRIBUTE, wire.encode_state(temperature)),
    ask(wire.EVALUATE, wire.encode_state(fitted)),
]
loaded = sorted({name.split(".")[0] for name in sys.modules})
print(json.dumps({"answers": answers, "loaded": loaded}))
"""


def test_rounds_over_cached_features_import_no_torch_no_ray_and_no_server(
    write_cached_cohort: Callable[..., Path],
) -> None:
    root = write_cached_cohort({"dias": 30}, backbone=get_backbone("efficientnet_lite0"))
    done = subprocess.run(
        [sys.executable, "-c", _ROUNDS, str(root)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["answers"] == ["content"] * 5
    assert not {"torch", "torchvision", "ray", "server", "simulations"} & set(found["loaded"])
