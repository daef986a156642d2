"""A whole run of fine-tuning: real sums, and sites that stand in for local training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from flwr.app import Context, RecordDict

from common.errors import RoundError, RunFolderError, SettingsError
from common.finetuning.model import load_network
from common.split import Split
from server.app import app
from server.events import read_events
from tests.server.finetuning_lab import PLAN, Lab, run, run_settings, two_stages

if TYPE_CHECKING:
    from tests.server.conftest import Hospitals


@pytest.fixture(autouse=True)
def _with_trunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    two_stages(tmp_path, monkeypatch)


def test_the_best_rounds_network_is_tested_and_written(
    hospitals: Hospitals, tmp_path: Path
) -> None:
    lab = Lab(hospitals, run_settings())
    lab.quality = {2: 0.9, 4: 0.95, 5: 0.7}
    result = run(lab, tmp_path)
    assert result["best_round"] == 4
    assert [entry["round"] for entry in result["history"]] == [0, 1, 2, 3, 4, 5]
    assert [entry["depth"] for entry in result["history"]] == [0, 0, 0, 2, 2, 2]
    assert result["gradient_steps"] == dict.fromkeys(("dias", "modern", "molemax", "rosendahl"), 20)
    assert result["test"]["pooled"]["accuracy"] > 0.85
    assert set(result["frozen_head"]["sites"]) == set(result["gradient_steps"])
    model = load_network(tmp_path / "out")
    assert (model.description.round, model.description.depth) == (4, 2)
    for name, array in lab.judged[4, "test"].items():
        np.testing.assert_array_equal(array, model.arrays[name])
    stage = model.network().trunk[0][0].weight  # type: ignore[index]
    np.testing.assert_array_equal(stage.detach().numpy(), model.arrays["trunk.0.0.weight"])
    assert json.loads((tmp_path / "out/result.json").read_text()) == result
    assert (tmp_path / "out/model.safetensors").is_file()
    events = read_events(tmp_path / "out/events.jsonl")
    kinds = [event["event"] for event in events if event["event"] != "note"]
    assert kinds == ["start", "head", *["round"] * 6, "end"]
    # What an operator is told of the sites is in the log, and rounds are not told twice.
    notes = [event["text"] for event in events if event["event"] == "note"]
    assert [note.partition(":")[0] for note in notes] == ["dias", "modern", "molemax", "rosendahl"]


def test_the_class_counts_of_an_order_are_those_of_all_training_images(
    hospitals: Hospitals, tmp_path: Path
) -> None:
    lab = Lab(hospitals, run_settings())
    run(lab, tmp_path)
    _, y = hospitals.pooled(Split.TRAIN)
    assert {order.class_counts for _, _, order in lab.orders} == {tuple(np.bincount(y).tolist())}


def test_round_0_judges_the_exact_head(hospitals: Hospitals, tmp_path: Path) -> None:
    lab = Lab(hospitals, run_settings())
    run(lab, tmp_path)
    judged = lab.judged[0, "validation"]
    assert judged.keys() == {"classifier.weight", "classifier.bias"}
    assert np.abs(judged["classifier.weight"]).max() > 0.01


@pytest.mark.parametrize("strategy", ["fedadam", "scaffold", "fedper", "fedbn", "fedavgm"])
@pytest.mark.parametrize("fails_at", [2, 3, 5])
def test_a_run_that_was_killed_goes_on_to_the_same_numbers(
    hospitals: Hospitals, tmp_path: Path, strategy: str, fails_at: int
) -> None:
    plan = "plan=1:2,all:3" if strategy == "fedper" else PLAN
    settings = run_settings(strategy=strategy, training=f"{plan} ema=0.5")
    whole = Lab(hospitals, settings)
    whole.quality = {1: 0.9}
    expected = run(whole, tmp_path, "whole", "work-whole")
    torn = Lab(hospitals, settings)
    torn.quality, torn.fails_at = {1: 0.9}, fails_at
    with pytest.raises(KeyboardInterrupt):
        run(torn, tmp_path, "torn")
    torn.fails_at = 0
    (tmp_path / "torn").rmdir()
    found = run(torn, tmp_path, "torn")
    for result in (expected, found):
        for entry in result["history"]:
            del entry["seconds"]
    for name in ("history", "best_round", "gradient_steps", "test", "frozen_head"):
        assert found[name] == expected[name], name
    for name in ("network.safetensors", "model.safetensors"):
        whole_file, torn_file = (tmp_path / one / name for one in ("whole", "torn"))
        assert whole_file.read_bytes() == torn_file.read_bytes()
    last = whole.judged[5, "validation"]
    for name, array in torn.judged[5, "validation"].items():
        np.testing.assert_array_equal(array, last[name])


def test_sites_go_on_from_the_state_of_the_best_round_where_they_keep_their_own(
    hospitals: Hospitals, tmp_path: Path
) -> None:
    lab = Lab(hospitals, run_settings(strategy="fedper", training="plan=all:4"))
    lab.quality = {2: 0.9}
    run(lab, tmp_path)
    of_site = [order for site, _, order in lab.orders if site == "dias"]
    states = [(order.part.value, order.round, order.state_round) for order in of_site]
    assert states[-1] == ("test", 2, 2)
    assert states[:5] == [
        *(("validation", 0, 0), ("train", 1, 0), ("validation", 1, 1)),
        *(("train", 2, 1), ("validation", 2, 2)),
    ]


def test_the_mean_over_rounds_is_judged_and_the_weights_go_on(
    hospitals: Hospitals, tmp_path: Path
) -> None:
    plain = Lab(hospitals, run_settings(training="plan=all:2"))
    run(plain, tmp_path, "plain", "work-plain")
    lab = Lab(hospitals, run_settings(training="plan=all:2 ema=0.75"))
    run(lab, tmp_path)
    for name, start in lab.judged[0, "validation"].items():
        first, second = (plain.judged[number, "validation"][name] for number in (1, 2))
        mean = 0.75 * (0.75 * start + 0.25 * first) + 0.25 * second
        np.testing.assert_allclose(lab.judged[2, "validation"][name], mean, atol=1e-6)


def test_patience_ends_a_run(hospitals: Hospitals, tmp_path: Path) -> None:
    lab = Lab(hospitals, run_settings(training="plan=all:9 patience=2"))
    lab.quality = {1: 0.9}
    result = run(lab, tmp_path)
    assert (result["best_round"], len(result["history"])) == (1, 4)
    assert "stop" in [event["event"] for event in read_events(tmp_path / "out/events.jsonl")]


def test_only_validated_rounds_are_asked_about_and_can_be_the_best(
    hospitals: Hospitals, tmp_path: Path
) -> None:
    lab = Lab(hospitals, run_settings(training="plan=all:5 validate_every=2"))
    lab.quality = {1: 0.99, 2: 0.8, 3: 0.99, 4: 0.7, 5: 0.6}
    result = run(lab, tmp_path)
    asked = [number for number, part in lab.judged if part == "validation"]
    assert asked == [0, 2, 4, 5]
    assert [entry["validation"] is None for entry in result["history"]] == [
        number not in asked for number in range(6)
    ]
    assert result["best_round"] == 2


def test_a_run_of_other_settings_does_not_go_on(hospitals: Hospitals, tmp_path: Path) -> None:
    lab = Lab(hospitals, run_settings())
    run(lab, tmp_path)
    lab.settings = run_settings(seed=5)
    with pytest.raises(RunFolderError, match="other settings"):
        run(lab, tmp_path, "other")


def test_a_site_that_changed_meanwhile_is_refused(hospitals: Hospitals, tmp_path: Path) -> None:
    lab = Lab(hospitals, run_settings())
    lab.fails_at = 3
    with pytest.raises(KeyboardInterrupt):
        run(lab, tmp_path)
    hospitals.replace(hospitals.node("dias"), lesions=7)
    with pytest.raises(RoundError, match="dias: its lesions changed"):
        run(Lab(hospitals, run_settings()), tmp_path, "again")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"strategy": "fedper"}, "leaves the head at its site"),
        ({"strategy": "fedsgd"}, "'fedsgd' is unknown"),
        ({"training": "plan=all"}, "plan: 'all' is not DEPTH:ROUNDS"),
        ({"strategy_settings": "mu=1"}, "mu: unknown"),
        ({"learner_settings": "ledger=true"}, "ledger keeps sums"),
        ({"learner": "soft-vote"}, "learner soft-vote: is no linear head, .* one of: ncm, lda"),
    ],
)
def test_wrong_settings_are_told(
    hospitals: Hospitals, tmp_path: Path, changes: dict[str, str], problem: str
) -> None:
    lab = Lab(hospitals, run_settings())
    lab.settings = run_settings(**changes)
    with pytest.raises(SettingsError, match=problem):
        run(lab, tmp_path)


def test_the_app_removes_what_an_unfinished_run_kept(hospitals: Hospitals, tmp_path: Path) -> None:
    out = tmp_path / "run"
    settings = run_settings(out=str(out))
    lab = Lab(hospitals, settings)
    config = settings.run_config()
    context = Context(
        run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config=dict(config)
    )
    lab.fails_at = 2
    with pytest.raises(KeyboardInterrupt):
        app(lab.grid, context)
    assert not out.exists()
    assert (tmp_path / "run.unfinished").is_dir()
    lab.fails_at = 0
    app(lab.grid, context)
    assert (out / "network.safetensors").is_file()
    assert not (tmp_path / "run.unfinished").exists()


def test_of_equally_good_rounds_the_later_one_is_kept(hospitals: Hospitals, tmp_path: Path) -> None:
    lab = Lab(hospitals, run_settings(training="plan=all:4"))
    lab.quality = {1: 0.9, 3: 0.9}
    assert run(lab, tmp_path)["best_round"] == 3
