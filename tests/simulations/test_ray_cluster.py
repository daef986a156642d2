"""A cluster of two nodes, and a driver that cannot read the images."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BIN = Path(sys.executable).parent

# The driver's own process is refused every look into the image folder.
BLIND_DRIVER = """
import sys
from common.cli import main

folder = sys.argv.pop(1)

def refuse(event, arguments):
    if event in ("open", "os.scandir", "os.listdir") and str(arguments[0]).startswith(folder):
        raise PermissionError(f"the driver looked at {arguments[0]}")

sys.addaudithook(refuse)
main(sys.argv[1:])
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def cluster(shared_cache: Path, tmp_path: Path) -> Iterator[str]:
    """Two Ray nodes of one core each, as processes; yields the address."""
    address = f"127.0.0.1:{free_port()}"
    environment = {
        **os.environ,
        "DERMAFED_CACHE": str(shared_cache),
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }
    # Not in Ray's usual folder, where every later Ray program would find the address; and short,
    # since the path of a socket is.
    folder = tempfile.mkdtemp(prefix="ray-")
    common = ["--num-cpus=1", "--disable-usage-stats", "--block", "--object-store-memory=200000000"]
    roles = [
        [
            "--head",
            f"--port={address.split(':')[1]}",
            "--include-dashboard=false",
            f"--temp-dir={folder}",
        ],
        [f"--address={address}"],
    ]
    nodes = []
    try:
        for index, role in enumerate(roles):
            with (tmp_path / f"node-{index}.log").open("w") as log:
                command = [str(BIN / "ray"), "start", *role, *common]
                nodes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
            wait_for_nodes(address, index + 1, environment)
        yield address
    finally:
        for node in reversed(nodes):
            node.terminate()
        for node in nodes:
            node.wait(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


def wait_for_nodes(address: str, count: int, environment: dict[str, str]) -> None:
    code = (
        "import sys, ray\n"
        "ray.init(sys.argv[1], logging_level='ERROR', log_to_driver=False)\n"
        "sys.exit(sum(node['Alive'] for node in ray.nodes()) < int(sys.argv[2]))\n"
    )
    end = time.monotonic() + 90
    while subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, address, str(count)],
        env=environment,
        check=False,
        capture_output=True,
        timeout=90,
    ).returncode:
        assert time.monotonic() < end, f"the cluster did not reach {count} nodes"


def test_a_two_node_cluster_gives_the_same_model_to_a_driver_that_cannot_read_the_images(
    cluster: str, site_run: tuple[Path, Any], cohort: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    images = str(cohort / "images")
    arguments = ["simulate", str(cohort), "--ray-address", cluster, "--out", str(out)]
    driver = [sys.executable, "-c", BLIND_DRIVER, images]
    blind = subprocess.run(
        [*driver, "data", "check", str(cohort)], capture_output=True, text=True, check=False
    )
    assert "the driver looked at" in blind.stderr, "the driver is not blind"
    done = subprocess.run(
        [*driver, *arguments], capture_output=True, text=True, check=False, timeout=200
    )
    assert done.returncode == 0, done.stderr
    ours = site_run[0]
    for name in ("model.safetensors", "predictions.csv"):
        assert (out / name).read_bytes() == (ours / name).read_bytes()
    result = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert result["machines"] == 2


def test_an_address_without_a_cluster_is_an_error_that_names_it(
    dermafed: Any, cohort: Path, tmp_path: Path
) -> None:
    address = f"127.0.0.1:{free_port()}"
    done = dermafed("simulate", cohort, "--ray-address", address, "--out", tmp_path / "run")
    assert done.returncode == 1
    assert address in done.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "run").exists()
