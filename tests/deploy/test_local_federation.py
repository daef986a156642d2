"""A coordinator and four sites as real processes, over TLS with keys."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from client.deployment.worker import WAITING
from common.trust import new_site_key
from tests.deploy.conftest import (
    DERMAFED,
    LEARNER,
    SITES,
    Federation,
    same_model,
    wait_until,
)

# Four sites, a coordinator and a busy machine.
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def simulated(federation: Federation) -> Path:
    """The same run, simulated on the pooled cohort's folder."""
    out = federation.folder / "simulated"
    done = federation.call(
        *(str(DERMAFED), "simulate", str(federation.cohort), "--out", str(out)),
        *(*LEARNER, "--disclosure", "guarded"),
    )
    assert done.returncode == 0, done.stderr
    return out


def test_the_federation_learns_the_very_coefficients_of_the_simulation(
    trained: Path, simulated: Path
) -> None:
    assert same_model(trained, simulated)
    result = json.loads((trained / "result.json").read_text(encoding="utf-8"))
    assert set(result["test"]["sites"]) == set(SITES)


def test_each_site_has_every_answer_in_its_audit_trail(
    federation: Federation, trained: Path
) -> None:
    rounds = json.loads((trained / "result.json").read_text(encoding="utf-8"))["rounds"]
    for site in SITES:
        done = federation.call(
            *(str(DERMAFED), "site", "audit", "--last", "0"),
            *("--folder", str(federation.site(site))),
        )
        assert done.returncode == 0, done.stderr
        lines = (federation.site(site) / "audit.jsonl").read_text(encoding="utf-8").splitlines()
        entries = [json.loads(line) for line in lines]
        first = [entry for entry in entries if entry["run"] == entries[0]["run"]]
        # Joining, each round of learning, and the evaluation.
        assert len(first) == 1 + rounds + 1
        assert not any(entry["refused"] for entry in first)


@pytest.mark.slow
def test_a_worker_that_is_killed_in_mid_run_and_a_superlink_that_is_cost_nothing(
    federation: Federation, trained: Path
) -> None:
    run = federation.start_run("killed", *LEARNER)
    wait_until(lambda: "round" in federation.events("killed"))
    federation.process(federation.site("vidir_modern"), "worker").kill()
    wait_until(lambda: federation.events("killed").count("round") >= 3)
    federation.process(federation.coordinator, "superlink").kill()
    _, said = run.communicate(timeout=300)
    assert run.returncode == 0, said
    assert same_model(federation.result("killed"), trained)


def test_settings_beyond_a_sites_bounds_are_refused_by_category(federation: Federation) -> None:
    done = federation.run("beyond", *LEARNER, "--split-seed", "2")
    assert done.returncode == 1
    assert "BoundsError" in done.stderr
    assert "split-seed" not in done.stderr.split("BoundsError", 1)[1].split("It goes on")[0]
    assert not federation.result("beyond").exists()
    log = (federation.site(SITES[0]) / "logs" / "worker.log").read_text(encoding="utf-8")
    assert "split-seed 2: this site allows 1" in log


def test_a_tampered_bundle_is_refused_before_it_is_unpacked(federation: Federation) -> None:
    code = federation.coordinator / "bundle" / "client" / "app.py"
    before = code.read_text(encoding="utf-8")
    code.write_text(before + "# One comment more.\n", encoding="utf-8")
    try:
        done = federation.run("tampered", *LEARNER)
    finally:
        code.write_text(before, encoding="utf-8")
    assert done.returncode == 1
    assert done.stderr.count("BundleError") >= len(SITES)
    assert not federation.result("tampered").exists()
    # Flower's own ClientApp would have installed it there.
    assert not list((federation.site(SITES[0]) / "flower").rglob("app.py"))


@pytest.mark.parametrize(
    "path",
    ["/v1/control/start-run", "/v1/runtime/acquire-task", "/v1/fleet/../control/list-runs", "/"],
)
def test_nothing_but_the_fleet_api_is_reached_from_outside(
    federation: Federation, path: str
) -> None:
    authority = federation.coordinator / "authority.pem"
    context = ssl.create_default_context(cafile=str(authority))
    with (
        socket.create_connection(("127.0.0.1", federation.port), 10) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        request = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n"
        secure.sendall(f"{request}Connection: close\r\n\r\n".encode())
        assert secure.recv(200).split(b" ")[1] == b"403"


def test_a_plain_connection_is_refused(federation: Federation) -> None:
    with socket.create_connection(("127.0.0.1", federation.port), 10) as plain:
        plain.sendall(b"POST /v1/fleet/pull-messages HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert plain.recv(200).split(b" ")[1] == b"400"


@pytest.mark.parametrize("with_key", [True, False], ids=["unknown key", "no key"])
def test_a_node_that_was_not_invited_is_refused(
    federation: Federation, tmp_path: Path, with_key: bool
) -> None:
    private, _ = new_site_key("stranger")
    (tmp_path / "key").write_bytes(private)
    (tmp_path / "key").chmod(0o600)
    key = ("--auth-supernode-private-key", str(tmp_path / "key")) if with_key else ()
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("flower-supernode")),
            *("--superlink", f"localhost:{federation.port}"),
            *("--root-certificates", str(federation.coordinator / "authority.pem")),
            *("--isolation", "process", "--port", str(federation.port + 7), *key),
            *("--max-retries", "1", "--max-wait-time", "5"),
        ],
        env={**federation.environment, "FLWR_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode != 0
    assert "305" in done.stdout + done.stderr
    listed = federation.call(
        str(DERMAFED), "coordinator", "sites", "--folder", str(federation.coordinator)
    )
    assert listed.returncode == 0, listed.stderr


@pytest.mark.parametrize(("seconds", "status"), [(0, 412), (-200, 412), (60, 401), (-400, 401)])
def test_a_site_with_a_wrong_clock_is_refused(
    federation: Federation, tmp_path: Path, seconds: int, status: int
) -> None:
    log = federation.coordinator / "logs" / "superlink.log"
    begin = len(log.read_text(encoding="utf-8"))
    subprocess.run(
        [
            *(sys.executable, str(Path(__file__).with_name("wrong_clock.py")), str(seconds)),
            *("--superlink", f"localhost:{federation.port}"),
            *("--root-certificates", str(federation.coordinator / "authority.pem")),
            *("--auth-supernode-private-key", str(federation.site(SITES[0]) / "site.key")),
            *("--isolation", "process", "--port", str(federation.port + 7)),
            *("--max-retries", "1", "--max-wait-time", "5"),
        ],
        env={**federation.environment, "FLWR_HOME": str(tmp_path)},
        capture_output=True,
        check=False,
        timeout=120,
    )
    new = log.read_text(encoding="utf-8")[begin:]
    # With a clock that is right enough, its signature is taken: the site itself is online already.
    assert f'"POST /v1/fleet/activate-node HTTP/1.1" {status}' in new


def test_an_idle_site_takes_less_than_300_mb(federation: Federation) -> None:
    folder = federation.site(SITES[0])
    log = folder / "logs" / "worker.log"
    before = log.read_text(encoding="utf-8").count(WAITING)
    # As it does of its own accord after five minutes in which nothing was asked.
    federation.process(folder, "worker").terminate()
    wait_until(lambda: log.read_text(encoding="utf-8").count(WAITING) > before)
    state = json.loads((folder / "services.json").read_text(encoding="utf-8"))
    pids = [state["supervisor"]["pid"], *(one["pid"] for one in state["services"].values())]
    # Proportional: a page that two processes share counts once.
    assert sum(psutil.Process(pid).memory_full_info().pss for pid in pids) < 300e6


def test_down_leaves_no_process_behind(federation: Federation) -> None:
    assert len(federation.processes()) > 10
    done = federation.script("down")
    assert done.returncode == 0, done.stderr
    wait_until(lambda: not federation.processes(), 30.0)
    # Up again, from what is on disk, with the same keys.
    done = federation.script("up")
    assert done.returncode == 0, done.stderr
