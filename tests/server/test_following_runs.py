"""Following a run: what is told, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from common.errors import DeploymentError
from server.deployment import follow
from server.deployment.control import RunSeen, Seen
from server.deployment.runs import Submitted
from server.deployment.settings import CoordinatorFile
from tests.server.submitted_runs import finish, log_of, submitted

SETTINGS = CoordinatorFile(host="fed.example.org")


@pytest.fixture(autouse=True)
def _tiny_backbone() -> None:
    """Leave the backbones as they are: a run is checked against the one that it names."""


class _Superlink:
    """Stands for the SuperLink and for time: each call of `then` happens half a second later."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, run: Submitted) -> None:
        self.now, self.seen = 0.0, RunSeen("running", "", "")
        self.silent: list[tuple[float, float]] = []
        self.forgets = False
        self.asked: list[float] = []
        self._number = run.flower_runs[-1]
        self._then: list[Callable[[], None]] = []
        monkeypatch.setattr(follow, "time", self)
        monkeypatch.setattr(follow, "ask_superlink", self._ask)

    def then(self, *steps: Callable[[], None]) -> None:
        self._then += steps

    def ends(self, outcome: str, details: str = "") -> None:
        self.seen = RunSeen("finished", outcome, details)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        assert self.now < 1000.0
        if self._then:
            self._then.pop(0)()

    def _ask(self, folder: Path, settings: CoordinatorFile) -> Seen:
        self.asked.append(self.now)
        if any(start <= self.now < end for start, end in self.silent):
            raise DeploymentError("the coordinator does not answer")
        if self.forgets:
            return Seen({}, {"7": self.seen})
        return Seen({}, {self._number: self.seen, "7": RunSeen("finished", "failed", "another")})


@pytest.fixture
def run(tmp_path: Path) -> Submitted:
    return submitted(tmp_path, "first")


@pytest.fixture
def superlink(monkeypatch: pytest.MonkeyPatch, run: Submitted) -> _Superlink:
    return _Superlink(monkeypatch, run)


def _follow(folder: Path, run: Submitted) -> list[str]:
    lines: list[str] = []
    follow.follow(folder, SETTINGS, run, lines.append)
    return lines


def test_following_tells_each_event_once_and_ends_with_the_run(
    tmp_path: Path, run: Submitted, superlink: _Superlink
) -> None:
    log = log_of(run)
    # Before it was followed.
    log.emit("start", sites=["dias", "modern"])

    def ends() -> None:
        # What is told last, and the end, come between two looks.
        log.emit("round", round=2, depth=1, loss=0.5, bytes_up=10, validation={"n": 1})
        log.close()
        finish(run)
        superlink.ends("completed")

    facts = {"stage": "moments", "sites": ["dias", "modern"], "bytes_up": 1_500_000}
    superlink.then(
        lambda: log.emit("note", text="modern: was lost, and asked again"),
        lambda: log.emit("round", round=1, **facts),
        *[lambda: None] * 10,
        ends,
    )
    assert _follow(tmp_path, run) == [
        "start: sites ['dias', 'modern']",
        "modern: was lost, and asked again",
        "round 1 of at most 42: moments, 2 sites, 1.50 MB from them so far",
        "round: round 2, depth 1, loss 0.5, bytes_up 10",
        f"finished: {run.run_settings.out}",
    ]
    # Flower is asked now and then, not with each look.
    assert all(b - a >= 3.0 for a, b in zip(superlink.asked, superlink.asked[1:], strict=False))


def test_what_was_told_before_a_run_went_on_is_not_told_again(
    tmp_path: Path, run: Submitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = log_of(run)
    log.emit("round", round=1)
    again = run.model_copy(update={"flower_runs": ("101", "102")})
    superlink = _Superlink(monkeypatch, again)

    def ends() -> None:
        log.emit("resume", rounds_done=1)
        log.close()
        finish(run)
        superlink.ends("completed")

    superlink.then(ends)
    assert _follow(tmp_path, again) == [
        "resume: rounds_done 1",
        f"finished: {run.run_settings.out}",
    ]


def test_a_finished_run_tells_its_balanced_accuracy(
    tmp_path: Path, run: Submitted, superlink: _Superlink
) -> None:
    log = log_of(run)
    log.emit("round", round=1)

    def ends() -> None:
        log.close()
        finish(run)
        metrics = {"balanced_accuracy": [0.6123, 0.55, 0.7]}
        result = {"test": {"pooled": {"metrics": metrics}}}
        path = Path(run.run_settings.out) / "result.json"
        path.write_text(json.dumps(result), encoding="utf-8")
        superlink.ends("completed")

    superlink.then(ends)
    told = _follow(tmp_path, run)[-1]
    assert told.endswith("; balanced accuracy on test images 0.612 (0.550 to 0.700)")


@pytest.mark.parametrize(
    ("outcome", "details", "why"),
    [
        ("failed", "2 of 3 sites count", "run first failed: 2 of 3 sites count"),
        ("stopped", "", "run first stopped. It begins again"),
        # Flower calls a ServerApp completed that has written no result.
        ("completed", "", "run first completed. It begins again"),
    ],
)
def test_a_run_without_a_result_ends_with_the_reason_and_how_to_go_on(
    tmp_path: Path, run: Submitted, superlink: _Superlink, outcome: str, details: str, why: str
) -> None:
    superlink.ends(outcome, details)
    with pytest.raises(DeploymentError, match="dermafed coordinator run --resume first") as caught:
        _follow(tmp_path, run)
    assert str(caught.value).startswith(why)


def test_a_run_that_the_superlink_does_not_know_ends_the_following(
    tmp_path: Path, run: Submitted, superlink: _Superlink
) -> None:
    # Its database was removed while it was away, so that it comes back without the run.
    superlink.silent = [(10.0, 20.0)]
    superlink.then(*[lambda: None] * 20, lambda: setattr(superlink, "forgets", True))
    with pytest.raises(DeploymentError, match="run first: the SuperLink knows no run 101;") as told:
        _follow(tmp_path, run)
    assert "dermafed coordinator run --resume first" in str(told.value)
    assert superlink.now < 30.0


def test_a_finished_run_that_the_superlink_has_forgotten_is_finished(
    tmp_path: Path, run: Submitted, superlink: _Superlink
) -> None:
    log_of(run).close()
    finish(run)
    superlink.forgets = True
    assert _follow(tmp_path, run) == [f"finished: {run.run_settings.out}"]


def test_a_run_is_under_way_until_flower_says_that_it_has_finished(
    tmp_path: Path, run: Submitted, superlink: _Superlink
) -> None:
    assert follow.is_under_way(tmp_path, SETTINGS, run)
    superlink.ends("failed")
    assert not follow.is_under_way(tmp_path, SETTINGS, run)
    superlink.forgets = True
    superlink.seen = RunSeen("running", "", "")
    assert not follow.is_under_way(tmp_path, SETTINGS, run)
    never = run.model_copy(update={"flower_runs": ()})
    assert not follow.is_under_way(tmp_path, SETTINGS, never)


def test_rounds_of_fine_tuning_are_told_with_those_to_come_and_the_time_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = submitted(tmp_path, "tuned", strategy="fedavg", training="plan=head:1,all:2")
    superlink = _Superlink(monkeypatch, run)
    pooled = {"n": 48, "balanced_accuracy_bounds": [0.5, 0.75]}
    rest = {"validation": {"pooled": pooled}, "steps": {}, "bytes_up": 5, "bytes_down": 1}
    with log_of(run) as log:
        log.emit("round", round=0, depth=0, loss=None, seconds=3.0, **rest)
        log.emit("round", round=1, depth=0, loss=1.25, seconds=5.0, **rest)
        log.emit("round", round=2, depth=9, loss=0.5, seconds=30.0, **{**rest, "validation": None})
    shown: list[tuple[int, int | None]] = []
    finish(run)
    superlink.ends("completed")
    lines: list[str] = []
    follow.follow(
        tmp_path,
        SETTINGS,
        run,
        lines.append,
        lambda progress, length: shown.append((progress.rounds, length.rounds)),
    )
    on, left = "on 48 validation images", "about 8 s left"
    assert lines == [
        f"round 0 of 3, balanced accuracy 0.5000 to 0.7500 {on}, 3.0 s",
        f"round 1 of 3, loss 1.2500, balanced accuracy 0.5000 to 0.7500 {on}, 5.0 s, {left}",
        "round 2 of 3, loss 0.5000, 30.0 s, about 30 s left",
        f"finished: {run.run_settings.out}",
    ]
    assert set(shown) == {(2, 3)}


def test_a_superlink_that_comes_back_is_waited_for(
    tmp_path: Path, run: Submitted, superlink: _Superlink
) -> None:
    # Twice, and each time for less than it is waited for.
    superlink.silent = [(0.0, 150.0), (160.0, 300.0)]
    with log_of(run) as log:
        log.emit("start", sites=[])
    finish(run)
    superlink.then(*[lambda: None] * 400, lambda: superlink.ends("completed"))
    assert len(_follow(tmp_path, run)) == 2
    assert superlink.now >= 300.0


def test_a_superlink_that_does_not_come_back_ends_the_following(
    tmp_path: Path, run: Submitted, superlink: _Superlink
) -> None:
    superlink.silent = [(0.0, 1e9)]
    with pytest.raises(DeploymentError, match="does not answer"):
        _follow(tmp_path, run)
    assert 180.0 < superlink.now < 200.0
