"""A site whose results or weights are wrong, with its real key and beside its real SuperNode."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from common.wire import EVALUATE, FINETUNE, JUDGE
from tests.deploy.conftest import SITES, Federation, same_model
from tests.deploy.fine_tuning_sites import TASK, allowing_fine_tuning
from tests.deploy.hostile_site import answering_wrongly
from tests.deploy.hostile_worker import DONE

# A federation of its own, for minutes.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]
SITE = "vidir_modern"
OTHERS = set(SITES) - {SITE}
# Few rounds.
LEARNER = ("--learner", "ncm", "--set", "calibrate=none")


def _result(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "result.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def undisturbed(federation: Federation) -> Path:
    done = federation.run("undisturbed", *LEARNER)
    assert done.returncode == 0, done.stderr
    return federation.result("undisturbed")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("nan", "dtype 'float64', expected int64"),
        ("shape", "shape ("),
        ("count", "images were registered"),
        ("cell", "drawn_scores: counts images that scores does not hold"),
    ],
)
def test_results_of_a_site_that_evaluates_wrongly_are_left_out_and_the_model_is_the_same(
    federation: Federation, undisturbed: Path, tmp_path: Path, fault: str, reason: str
) -> None:
    name = f"evaluated-{fault}"
    with answering_wrongly(federation, SITE, fault, tmp_path, kinds=(EVALUATE,)):
        done = federation.run(name, *LEARNER, "--quorum", "3")
    assert (tmp_path / DONE).exists()
    assert done.returncode == 0, done.stderr
    run, whole = _result(federation.result(name)), _result(undisturbed)
    # Its learning was right, and is in the model; of its results nothing is.
    assert same_model(federation.result(name), undisturbed)
    assert run["partition"]["left_out"].keys() == {SITE}
    assert reason in run["partition"]["left_out"][SITE]
    assert run["test"]["sites"].keys() == OTHERS
    for site in OTHERS:
        assert run["test"]["sites"][site] == whole["test"]["sites"][site]
    images = sum(run["test"]["sites"][site]["n"] for site in OTHERS)
    assert run["test"]["pooled"]["n"] == images < whole["test"]["pooled"]["n"]


def test_below_the_quorum_a_wrong_evaluation_ends_the_run_without_a_model(
    federation: Federation, tmp_path: Path
) -> None:
    with answering_wrongly(federation, SITE, "nan", tmp_path, kinds=(EVALUATE,)):
        done = federation.run("all-evaluate", *LEARNER, "--quorum", "4")
    assert (tmp_path / DONE).exists()
    assert done.returncode == 1
    assert f"{SITE}: " in done.stderr
    assert not federation.result("all-evaluate").exists()


def test_wrong_weights_and_wrong_validations_leave_no_more_trace_than_refusals(
    federation: Federation, tmp_path: Path
) -> None:
    kinds = (FINETUNE, JUDGE)
    with allowing_fine_tuning(federation):
        for fault in ("each", "refuse"):
            trail = tmp_path / fault
            trail.mkdir()
            with answering_wrongly(federation, SITE, fault, trail, kinds=kinds):
                done = federation.run(f"tuned-{fault}", *TASK, "--quorum", "3")
            assert (trail / DONE).exists()
            assert done.returncode == 0, done.stderr
    wrong, refused = federation.result("tuned-each"), federation.result("tuned-refuse")
    for file in ("model.safetensors", "network.safetensors"):
        assert (wrong / file).read_bytes() == (refused / file).read_bytes(), file
    found, expected = _result(wrong), _result(refused)
    assert found["test"] == expected["test"]
    assert found["test"]["sites"].keys() == OTHERS
    lines = (wrong / "events.jsonl").read_text(encoding="utf-8").splitlines()
    rounds = [event for event in map(json.loads, lines) if event["event"] == "round"]
    tuned = [event for event in rounds if "left_out" in event]
    assert [event["round"] for event in tuned] == [0, 1, 2, 3]
    trained = [event["left_out"]["train"][SITE] for event in tuned[1:]]
    for said, reason in zip(trained, ("NaN or infinity", "shape (", "steps: "), strict=True):
        assert reason in said
    judged = [event["left_out"]["validation"][SITE] for event in tuned]
    reasons = ("dtype 'float64'", "shape (", "images were registered", " for ")
    for said, reason in zip(judged, reasons, strict=True):
        assert reason in said
    for event in tuned[1:]:
        assert event["steps"].keys() == OTHERS
