"""The Ray cluster file: taken by Ray's own validator, and its commands by Ray's command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.conftest import PROJECT

CLUSTER = PROJECT / "deploy/ray/cluster.yaml"
# As `ray up` reads it. In a process of its own, since Ray's start leaves warnings.
VALIDATE = """
import json, sys, yaml
from ray.autoscaler._private.util import prepare_config, validate_config

with open(sys.argv[1], encoding="utf-8") as file:
    prepared = prepare_config(yaml.safe_load(file))
validate_config(prepared)
print(json.dumps(prepared))
"""


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(CLUSTER.read_text(encoding="utf-8"))
    return found


def test_ray_takes_the_file_and_starts_every_worker(cluster: dict[str, Any]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", VALIDATE, str(CLUSTER)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    prepared = json.loads(done.stdout.splitlines()[-1])
    (kind,) = prepared["available_node_types"].values()
    assert kind["min_workers"] == len(cluster["provider"]["worker_ips"])
    # Ray 2.55's second autoscaler starts none of them.
    assert prepared["head_start_ray_commands"][-1].startswith("RAY_enable_autoscaler_v2=0 ")


def test_ray_knows_every_option_that_it_is_started_with(cluster: dict[str, Any]) -> None:
    ray = Path(sys.executable).with_name("ray")
    known = subprocess.run(
        [ray, "start", "--help"], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    commands = cluster["head_start_ray_commands"] + cluster["worker_start_ray_commands"]
    options = re.findall(r"(--[a-z-]+)", " ".join(commands))
    assert {"--head", "--address", "--disable-usage-stats"} <= set(options)
    for option in options:
        assert re.search(rf"{option}\b(?!-)", known), option


def test_every_machine_gets_what_is_installed_there(cluster: dict[str, Any]) -> None:
    mounts = cluster["file_mounts"]
    assert all((PROJECT / name).exists() for name in mounts.values())
    assert all(Path(there).name == name for there, name in mounts.items())
    packages = {"client", "common", "server", "simulations"}
    assert packages | {"pyproject.toml", "README.md", "constraints.txt"} <= set(mounts.values())
