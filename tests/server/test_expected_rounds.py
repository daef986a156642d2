"""What a run's settings tell of its length is what a fit then takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from rich.console import Console
from rich.text import Text

from common.learners import make_learner
from common.learners.base import Problem
from common.settings import RunSettings
from server.commands.coordinator import following
from server.deployment.expected import Expected, expected
from server.deployment.runs import RunProgress, Submitted
from server.deployment.settings import CoordinatorFile
from server.sum_strategy import SumStrategy

if TYPE_CHECKING:
    from tests.server.conftest import Hospitals

FOLDS = "folds=3 search=grid:0.01:1:3"


@pytest.mark.parametrize(
    ("learner", "settings"),
    [
        ("ncm", "calibrate=none"),
        ("ridge", "calibrate=none"),
        ("ridge", f"calibrate=none {FOLDS}"),
        ("ridge", "calibrate=none ledger=true"),
        ("lda", "calibrate=none"),
        ("lda", "calibrate=none shrinkage=0.1"),
    ],
)
def test_a_closed_form_takes_the_rounds_that_it_says(
    hospitals: Hospitals, strategy_of: Callable[..., SumStrategy], learner: str, settings: str
) -> None:
    hospitals.deal(3)
    length = expected(RunSettings(backbone="tiny", learner=learner, learner_settings=settings))
    site = hospitals.sites[9]
    strategy = strategy_of(hospitals.grid(learner=learner, learner_settings=settings))
    joined = strategy.join(0, site.backbone.fingerprint, 1)
    problem = Problem(site.classes, site.backbone.dimension)
    strategy.fit(make_learner(learner, problem, settings), joined)
    assert length.rounds == length.most == strategy.traffic.rounds
    assert set(strategy.traffic.stages) <= set(length.stages)


@pytest.mark.parametrize(
    ("learner", "settings", "stages", "most"),
    [
        # One for the moments, 40 for the temperature, 300 of Newton's, 1000 gradients.
        ("ridge", "", ("moments", "gram", "temperature"), 42),
        ("ridge", "ledger=true", ("class_gram", "gram", "temperature"), 41),
        ("logistic", "calibrate=none", ("moments", "newton"), 301),
        (
            "logistic",
            "solver=lbfgs calibrate=temperature",
            ("moments", "curvature", "gradient", "temperature"),
            1042,
        ),
        ("svm", f"calibrate=none {FOLDS}", ("moments", "path", "newton"), 301),
        ("logistic", "calibrate=none l1_ratio=0.5", None, 301),
    ],
)
def test_of_rounds_until_the_sums_are_done_only_stages_and_a_bound_are_known(
    learner: str, settings: str, stages: tuple[str, ...] | None, most: int
) -> None:
    length = expected(RunSettings(backbone="tiny", learner=learner, learner_settings=settings))
    assert length.rounds is None
    assert stages is None or length.stages == stages
    assert length.most == most


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (Expected(5, (), 5), " of 5"),
        (Expected(None, (), 301), " of at most 301"),
        (Expected(None, ()), ""),
    ],
)
def test_the_number_of_a_round_is_followed_by_what_is_known_of_their_total(
    length: Expected, text: str
) -> None:
    assert length.total == text


def _progress(rounds: int, stage: str) -> RunProgress:
    events: list[dict[str, Any]] = [{"event": "start"}]
    events += [{"event": "round", "round": number} for number in range(1, rounds + 1)]
    return RunProgress(rounds, stage, 0, 0, finished=False, events=tuple(events))


@pytest.mark.parametrize(
    ("progress", "length", "text"),
    [
        (_progress(0, ""), Expected(None, ("moments", "newton")), "first round"),
        (
            _progress(4, "newton"),
            Expected(None, ("moments", "newton")),
            "rounds (newton, stage 2 of 2)",
        ),
        (
            _progress(4, "newton"),
            Expected(None, ("moments", "newton"), 301),
            "rounds (newton, stage 2 of 2, at most 301 in all)",
        ),
        (_progress(2, "gram"), Expected(2, ("moments", "gram"), 2), "test"),
        (_progress(0, ""), Expected(20, ()), "exact head"),
        (_progress(3, "9"), Expected(20, ()), "rounds"),
    ],
)
def test_a_run_says_what_it_is_at(progress: RunProgress, length: Expected, text: str) -> None:
    assert following.describe(progress, length) == text


def test_on_a_terminal_a_bar_shows_rounds_done_rounds_expected_and_the_time_left() -> None:
    now = 0.0
    console = Console(force_terminal=True, width=120)
    console.get_time = lambda: now
    with console.capture() as shown, following.progress_shown(console) as show:
        for done in (1, 2, 3):
            now = 60.0 * done
            show(_progress(done, "9"), Expected(20, ()))
    # 17 rounds of a minute are left.
    assert "3/20 0:03:00 left 0:17:00" in " ".join(Text.from_ansi(shown.get()).plain.split())


def test_elsewhere_no_bar_gets_into_a_log() -> None:
    console = Console(force_terminal=False, width=120)
    with console.capture() as shown, following.progress_shown(console) as show:
        show(_progress(1, "9"), Expected(20, ()))
    assert shown.get() == ""


def test_after_ctrl_c_the_run_goes_on_and_how_to_get_back_to_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(following, "follow", interrupted)
    console = Console(force_terminal=False, width=400)
    run = Submitted(name="first", flower_runs=("7",), settings=RunSettings().run_config())
    with console.capture() as said, pytest.raises(SystemExit) as ended:
        following.follow_shown(tmp_path, CoordinatorFile(host="fed.example.org"), run, console)
    assert ended.value.code == 130
    assert said.get().splitlines() == [
        "run first goes on at the coordinator",
        f"follow it again: dermafed coordinator run --resume first --folder {tmp_path}",
        f"stop it: dermafed coordinator stop --run first --folder {tmp_path}",
    ]
