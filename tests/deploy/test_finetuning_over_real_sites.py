"""Fine-tuning over real sites: allowed by each site, resumed, and as in simulation."""

from __future__ import annotations

import json
from collections.abc import Iterator

import psutil
import pytest

from tests.deploy.conftest import DERMAFED, SITES, Federation, wait_until
from tests.deploy.fine_tuning_sites import BACKBONE, TASK, allowing_fine_tuning

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def allowed(federation: Federation) -> Iterator[Federation]:
    """Sites that allow FedAvg over small images, and one thread each as in simulation."""
    with allowing_fine_tuning(federation):
        yield federation


def _server_apps(federation: Federation) -> list[psutil.Process]:
    superexec = federation.process(federation.coordinator, "superexec")
    found = []
    for child in superexec.children(recursive=True):
        try:
            if "flwr-serverapp" in " ".join(child.cmdline()):
                found.append(child)
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            # It has ended.
            continue
    return found


@pytest.mark.timeout(3000)
def test_a_run_whose_serverapp_is_killed_ends_with_the_network_of_the_simulation(
    allowed: Federation,
) -> None:
    name = "tuned"
    run = allowed.start_run(name, *TASK)
    # The exact head's, and one of training.
    wait_until(lambda: allowed.events(name).count("round") >= 2, 900.0)
    apps = _server_apps(allowed)
    assert apps
    for app in apps:
        app.kill()
    _, said = run.communicate(timeout=600)
    assert run.returncode == 1
    assert f"--resume {name}" in " ".join(said.split())
    resumed = allowed.call(
        *(str(DERMAFED), "coordinator", "run", "--resume", name),
        *("--folder", str(allowed.coordinator)),
        limit=1200.0,
    )
    assert resumed.returncode == 0, resumed.stderr
    out = allowed.folder / "simulated"
    simulated = allowed.call(
        *(str(DERMAFED), "finetune", str(allowed.cohort), "--out", str(out)),
        *("--disclosure", "guarded", *TASK),
        limit=1200.0,
    )
    assert simulated.returncode == 0, simulated.stderr
    found = allowed.result(name)
    for file in ("model.safetensors", "network.safetensors"):
        assert (found / file).read_bytes() == (out / file).read_bytes(), file
    lines = (found / "events.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    assert [one["rounds_done"] for one in events if one["event"] == "resume"] >= [1]
    rounds = [one["round"] for one in events if one["event"] == "round"]
    assert rounds == [0, 1, 2, 3]


@pytest.mark.timeout(900)
def test_a_strategy_that_the_sites_do_not_allow_is_refused_by_each(allowed: Federation) -> None:
    run = allowed.run("forbidden", "--strategy", "fedprox", "--backbone", BACKBONE)
    assert run.returncode == 1
    path = allowed.result("forbidden.unfinished") / "events.jsonl"
    events = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    notes = [event["text"] for event in events if event["event"] == "note"]
    assert len([note for note in notes if "BoundsError" in note]) == len(SITES)
    assert not allowed.result("forbidden").exists()


@pytest.mark.timeout(900)
def test_a_run_that_is_stopped_ends_and_goes_on_when_it_is_resumed(allowed: Federation) -> None:
    name, folder = "stopped", ("--folder", str(allowed.coordinator))
    run = allowed.start_run(name, "--learner", "logistic", "--set", "pca=16")
    wait_until(lambda: allowed.events(name).count("round") >= 1, 300.0)
    stopped = allowed.call(str(DERMAFED), "coordinator", "stop", "--run", name, *folder)
    assert stopped.returncode == 0, stopped.stderr
    _, said = run.communicate(timeout=300)
    assert run.returncode == 1
    assert f"run {name} stopped" in said
    wait_until(lambda: not _server_apps(allowed))
    resumed = allowed.call(str(DERMAFED), "coordinator", "run", "--resume", name, *folder)
    assert resumed.returncode == 0, resumed.stderr
    assert (allowed.result(name) / "result.json").is_file()
