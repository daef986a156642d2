"""Programs that are killed, in mid-round and between: the model is the undisturbed run's, or none.

That of a killed worker and SuperLink is in `test_local_federation`.
"""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest

from tests.deploy.conftest import DERMAFED, LEARNER, SITES, Federation, same_model, wait_until
from tests.deploy.hostile_site import members_and_left_out, simulate_without

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]
GONE = "vienna_dias"
DEADLINE = ("--deadline", "60")


def _join(federation: Federation, site: str) -> None:
    folder = federation.site(site)
    done = federation.call(str(DERMAFED), "site", "join", "--folder", str(folder), "--detach")
    assert done.returncode == 0, done.stderr


def _ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_site_that_is_killed_in_mid_round_comes_back_and_costs_nothing(
    federation: Federation, trained: Path
) -> None:
    folder = federation.site("vidir_modern")
    run = federation.start_run("site-killed", *LEARNER)
    wait_until(lambda: "round" in federation.events("site-killed"), 300.0)
    federation.process(folder, "supernode").kill()
    federation.process(folder, "worker").kill()
    _, said = run.communicate(timeout=900)
    assert run.returncode == 0, said
    members, left_out = members_and_left_out(federation.result("site-killed"))
    assert (members, left_out) == (set(SITES), {})
    assert same_model(federation.result("site-killed"), trained)


def test_a_run_whose_serverapp_is_killed_goes_on_after_its_last_round(
    federation: Federation, trained: Path
) -> None:
    name, superexec = "app-killed", federation.process(federation.coordinator, "superexec")
    run = federation.start_run(name, *LEARNER)
    wait_until(lambda: federation.events(name).count("round") >= 2, 300.0)
    apps = [
        child
        for child in superexec.children(recursive=True)
        if "flwr-serverapp" in " ".join(child.cmdline())
    ]
    assert apps
    for app in apps:
        app.kill()
    _, said = run.communicate(timeout=600)
    assert run.returncode == 1
    assert f"--resume {name}" in " ".join(said.split())
    assert not federation.result(name).exists()
    done = federation.call(
        *(str(DERMAFED), "coordinator", "run", "--resume", name),
        *("--folder", str(federation.coordinator)),
    )
    assert done.returncode == 0, done.stderr
    assert same_model(federation.result(name), trained)
    lines = (federation.result(name) / "events.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    assert [one["rounds_done"] for one in events if one["event"] == "resume"] >= [2]
    # No round was learned twice.
    rounds = [one["round"] for one in events if one["event"] == "round"]
    assert rounds == list(range(1, len(rounds) + 1))


def test_what_a_killed_supervisor_leaves_goes_on_until_the_next_start_stops_it(
    federation: Federation, trained: Path
) -> None:
    folders = [federation.site(GONE), federation.coordinator]
    before = [process for folder in folders for process in federation.services(folder)]
    for folder in folders:
        federation.supervisor(folder).kill()
    done = federation.run("unsupervised", *LEARNER)
    assert done.returncode == 0, done.stderr
    assert same_model(federation.result("unsupervised"), trained)
    assert not any(_ended(process) for process in before)
    done = federation.call(
        *(str(DERMAFED), "coordinator", "start", "--detach"),
        *("--folder", str(federation.coordinator)),
    )
    assert done.returncode == 0, done.stderr
    _join(federation, GONE)
    assert all(_ended(process) for process in before)
    done = federation.run("supervised", *LEARNER)
    assert done.returncode == 0, done.stderr
    assert same_model(federation.result("supervised"), trained)


def test_a_site_that_never_comes_back_is_left_out_by_name_and_below_the_quorum_ends_the_run(
    federation: Federation, trained: Path
) -> None:
    others, folder = simulate_without(federation, GONE), federation.site(GONE)
    run = federation.start_run("gone", *LEARNER, *DEADLINE, "--quorum", "3")
    try:
        wait_until(lambda: "round" in federation.events("gone"), 300.0)
        for process in (federation.supervisor(folder), *federation.services(folder)):
            process.kill()
        _, said = run.communicate(timeout=900)
        assert run.returncode == 0, said
        # The next one begins without it, and one that needs every site does not begin.
        begun = federation.run("begun-without", *LEARNER, *DEADLINE, "--quorum", "3")
        assert begun.returncode == 0, begun.stderr
        needed = federation.run("all-needed", *LEARNER, *DEADLINE, "--quorum", "4")
    finally:
        _join(federation, GONE)
    for name in ("gone", "begun-without"):
        members, left_out = members_and_left_out(federation.result(name))
        assert members == set(SITES) - {GONE}
        assert left_out.keys() == {GONE}
        assert same_model(federation.result(name), others)
    assert needed.returncode == 1
    assert not federation.result("all-needed").exists()
    # It is back, with the same key.
    done = federation.run("back", *LEARNER)
    assert done.returncode == 0, done.stderr
    assert same_model(federation.result("back"), trained)
