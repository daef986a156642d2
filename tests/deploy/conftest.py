"""A whole federation on loopback, as `deploy/local/federation` starts it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from safetensors.numpy import load_file

PROJECT = Path(__file__).parents[2]
SITES = ("rosendahl", "vidir_modern", "vidir_molemax", "vienna_dias")
DERMAFED = Path(sys.executable).with_name("dermafed")
LEARNER = ("--learner", "logistic", "--set", "pca=8")
# Eight ports in a row; other tests take theirs from the system, above 32768.
_FIRST_PORT, _LAST_PORT, _PORTS = 21000, 29000, 8


@dataclass(frozen=True)
class Federation:
    """A federation that runs."""

    folder: Path
    environment: dict[str, str]
    port: int

    @property
    def coordinator(self) -> Path:
        return self.folder / "coordinator"

    @property
    def cohort(self) -> Path:
        return self.folder / "cohort"

    def site(self, name: str) -> Path:
        return self.folder / "sites" / name

    def call(self, *command: str, limit: float = 900.0) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=limit,
        )

    def script(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.call("bash", str(PROJECT / "deploy/local/federation"), *arguments)

    def run(self, name: str, *options: str) -> subprocess.CompletedProcess[str]:
        return self.script("run", "--name", name, *options)

    def start_run(self, name: str, *options: str) -> subprocess.Popen[str]:
        folder = ("--folder", str(self.coordinator))
        return subprocess.Popen(
            [str(DERMAFED), "coordinator", "run", *folder, "--name", name, *options],
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def result(self, name: str) -> Path:
        return self.coordinator / "runs" / name

    def events(self, name: str) -> list[str]:
        """The kinds of events of a run under way, oldest first."""
        path = self.coordinator / "runs" / f"{name}.unfinished" / "events.jsonl"
        if not path.exists():
            return []
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
        return [json.loads(line)["event"] for line in lines]

    def pid(self, folder: Path, service: str) -> int:
        """The service's last known process; it may have ended."""
        return int(_state(folder)["services"][service]["pid"])

    def process(self, folder: Path, service: str) -> psutil.Process:
        return psutil.Process(self.pid(folder, service))

    def services(self, folder: Path) -> list[psutil.Process]:
        return [self.process(folder, name) for name in _state(folder)["services"]]

    def supervisor(self, folder: Path) -> psutil.Process:
        return psutil.Process(_state(folder)["supervisor"]["pid"])

    def processes(self) -> list[psutil.Process]:
        """Every process that has the federation's folder in its command or in its environment."""
        found = []
        for process in psutil.process_iter():
            try:
                told = " ".join(process.cmdline()) + process.environ().get("FLWR_HOME", "")
            except (psutil.AccessDenied, psutil.NoSuchProcess, psutil.ZombieProcess):
                continue
            if str(self.folder) in told:
                found.append(process)
        return found


def _state(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "services.json").read_text(encoding="utf-8"))
    return found


def same_model(one: Path, other: Path) -> bool:
    """Whether two runs have made the same model, to the last bit."""
    a, b = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def wait_until(condition: Callable[[], bool], limit: float = 120.0) -> None:
    """Wait for a condition."""
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "the condition was not met in time"
        time.sleep(0.1)


def free_ports() -> int:
    """Find ports in a row that nothing listens on, and give the first."""
    # Two processes of tests that look at the same time would find the same.
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    for first in range(_FIRST_PORT + 1000 * worker, _LAST_PORT, _PORTS):
        try:
            for port in range(first, first + _PORTS):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return first
    raise AssertionError("no free ports")


@pytest.fixture(scope="session")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Four sites of a synthetic cohort, online."""
    if not (shutil.which("nginx") or Path("/usr/sbin/nginx").exists()):
        pytest.skip("nginx is not installed; Debian: apt-get install nginx-light")
    folder, port = tmp_path_factory.mktemp("federation"), free_ports()
    environment = {
        **os.environ,
        "DERMAFED_LOCAL": str(folder),
        "DERMAFED_CACHE": str(folder / "features"),
        "DERMAFED": str(DERMAFED),
        "PORT": str(port),
    }
    made = Federation(folder, environment, port)
    drawn = made.call(str(DERMAFED), "data", "synthetic", str(made.cohort), "--images", "600")
    assert drawn.returncode == 0, drawn.stderr
    try:
        done = made.script("up")
        assert done.returncode == 0, done.stderr
        yield made
    finally:
        made.script("down")
        for left in made.processes():
            left.kill()


@pytest.fixture(scope="session")
def trained(federation: Federation) -> Path:
    """The folder of an undisturbed run over all sites."""
    done = federation.run("all", *LEARNER)
    assert done.returncode == 0, done.stderr
    return federation.result("all")
