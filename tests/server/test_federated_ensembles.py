"""Ensembles over the grid: the strategy that asks, guarded sites, and a coordinator that dies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from flwr.app import Message

from common import wire
from common.errors import SettingsError
from common.imbalance.check import check_imbalance
from common.learners import make_learner
from common.learners.base import Problem, SiteData
from common.learners.federate import fit_sites
from common.model import Model, load_model
from common.settings import RunSettings
from common.split import Split
from server.federation import run_federation

if TYPE_CHECKING:
    from tests.server.conftest import Hospitals

CASES = {
    "soft-vote": "members=logistic,ridge,ncm:pca=4 weights=2,1,1",
    "stack": "members=logistic,svm:calibrate=temperature",
    "balanced-bagging": "base=logistic bags=3",
    "local-vote": "base=lda",
    "tuned": "learner=ridge folds=3 at_once=6 space=alpha_per_image=1|0.1|10 metric=log_loss",
    # Not an ensemble: settings that need the features' dimension, as of any learner.
    "ridge": "pca=4",
}


def _data(hospitals: Hospitals, part: Split) -> Mapping[str, SiteData]:
    return {site.name: site.part(part) for site in hospitals.sites.values()}


@pytest.mark.parametrize("guarded", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_over_the_grid_it_is_what_it_is_in_one_process(
    hospitals: Hospitals, reports: list[str], tmp_path: Path, name: str, guarded: bool
) -> None:
    if name == "tuned":
        hospitals.deal(3)
    if guarded:
        withheld = hospitals.guard(3)
        assert any(withheld.values())
    task: dict[str, Any] = {"learner": name, "learner_settings": CASES[name]}
    settings = RunSettings(backbone="tiny", out=str(tmp_path), **task)
    run_federation(hospitals.grid(**task), settings, tmp_path, reports.append)
    model = load_model(tmp_path)
    about = model.description
    learner = make_learner(name, Problem(about.classes, about.dimension), CASES[name])
    state = fit_sites(learner, _data(hospitals, Split.TRAIN), _data(hospitals, Split.VALIDATION))
    assert model.arrays.keys() == state.arrays.keys()
    for key, array in state.arrays.items():
        assert model.arrays[key].tobytes() == array.tobytes(), key
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert result["rounds"] == sum(result["stages"].values())
    assert result["test"]["pooled"]["n"] > 0
    told = f"{name}: the coordinator sees what each site has made, not only sums"
    assert (told in reports) == (name == "local-vote")


def test_a_site_knows_its_policy_when_it_draws_bags(hospitals: Hospitals) -> None:
    hospitals.guard(3)
    assert {site.part(Split.TRAIN).minimum for site in hospitals.sites.values()} == {3}


def _count(grid: Any, fails_at: int) -> list[str]:
    """Make the coordinator die when a round's first answer arrives."""
    rounds: list[str] = []
    first = next(iter(grid.answers))

    def dies(asked: Message, right: Message) -> list[Message]:
        if asked.metadata.message_type == wire.CONTRIBUTE:
            rounds.append(asked.metadata.message_type)
            if len(rounds) == fails_at:
                raise KeyboardInterrupt
        return [right]

    grid.tamper[first] = dies
    return rounds


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("soft-vote", "members=ridge,logistic,ncm"),
        ("stack", "members=ncm,logistic"),
        ("balanced-bagging", "base=ridge bags=2"),
        ("local-vote", "base=ridge"),
        ("tuned", "learner=logistic folds=2 at_once=2 space=alpha_per_image=1|0.1"),
    ],
)
def test_a_run_that_was_killed_goes_on_to_the_same_bits(
    hospitals: Hospitals, reports: list[str], tmp_path: Path, name: str, settings: str
) -> None:
    task: dict[str, Any] = {"learner": name, "learner_settings": settings}
    if name == "tuned":
        hospitals.deal(2)

    def run(out: str, fails_at: int = 0) -> tuple[Model, list[str]]:
        folder = tmp_path / out
        folder.mkdir(exist_ok=True)
        work = tmp_path / ("work" if fails_at or out == "again" else "other")
        work.mkdir(exist_ok=True)
        grid = hospitals.grid(**task)
        rounds = _count(grid, fails_at)
        asked = RunSettings(backbone="tiny", out=str(folder), **task)
        run_federation(grid, asked, folder, reports.append, work)
        return load_model(folder), rounds

    whole, rounds = run("whole")
    # At every round: each time it goes on from the one before.
    for fails_at in range(len(rounds)):
        with pytest.raises(KeyboardInterrupt):
            run("dead", 2 if fails_at else 1)
    again, last = run("again")
    assert len(last) <= 1
    for key, array in whole.arrays.items():
        assert again.arrays[key].tobytes() == array.tobytes(), key
    assert np.isfinite(again.head().predict_proba(np.zeros((3, 8)))).all()


@pytest.mark.parametrize("name", ["balanced-bagging", "local-vote"])
def test_images_that_come_twice_are_refused_where_parts_are_told_of(name: str) -> None:
    """A block of as many rows as the minimum could be one image, repeated."""
    task = {"learner": name, "backbone": "tiny", "disclosure": "guarded"}
    with pytest.raises(SettingsError, match="not with trees or bags at guarded sites"):
        check_imbalance(RunSettings.model_validate({**task, "imbalance": "oversample"}))
    check_imbalance(RunSettings.model_validate({**task, "imbalance": "undersample"}))
    check_imbalance(
        RunSettings.model_validate({**task, "imbalance": "oversample", "disclosure": "exact"})
    )
