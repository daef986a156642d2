"""A coordinator's runs: submitted, followed and resumed."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from common.errors import DeploymentError
from common.settings import RunSettings
from server.deployment import follow, runs
from server.deployment.control import RunSeen, Seen
from server.deployment.runs import Submitted, progress_of, read_run, read_runs, submit
from server.deployment.settings import CoordinatorFile
from server.events import EventLog

SETTINGS = CoordinatorFile(host="fed.example.org")


@pytest.fixture(autouse=True)
def _tiny_backbone() -> None:
    """Leave the backbones as they are: a run is checked against the one that it names."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What ``flwr`` is asked; its runs are numbered 101, 102 and so on."""
    found: list[tuple[str, ...]] = []

    def flwr(folder: Path, *arguments: str) -> dict[str, Any]:
        found.append(arguments)
        return {"success": True, "run-id": str(100 + len(found))}

    monkeypatch.setattr(runs, "flwr", flwr)
    return found


def _settings(folder: Path, name: str, **changes: Any) -> RunSettings:
    return RunSettings(out=str(folder / "runs" / name), sites=2, **changes)


def _log(run: Submitted, *, finished: bool = False) -> EventLog:
    """Open the events of a run's ServerApp."""
    told = run.run_settings
    return EventLog((Path(told.out) if finished else told.unfinished) / "events.jsonl")


def _finish(run: Submitted) -> None:
    """Let the run folder appear, as its ServerApp does."""
    out = Path(run.run_settings.out)
    run.run_settings.unfinished.rename(out)
    (out / "result.json").write_text("{}", encoding="utf-8")


def test_a_submitted_run_is_on_record_with_its_settings(
    tmp_path: Path, asked: list[tuple[str, ...]]
) -> None:
    settings = _settings(tmp_path, "first", learner="logistic", deadline=30.0)
    record = submit(tmp_path, "first", settings)
    config = tmp_path / "runs" / "first.run.toml"
    assert asked == [("run", str(tmp_path / "bundle"), "--run-config", str(config))]
    assert tomllib.loads(config.read_text(encoding="utf-8")) == settings.run_config()
    assert record.flower_runs == ("101",)
    assert read_run(tmp_path, "first") == record
    assert record.run_settings == settings


def test_a_run_that_goes_on_keeps_its_settings_and_gets_another_number(
    tmp_path: Path, asked: list[tuple[str, ...]]
) -> None:
    first = submit(tmp_path, "first", _settings(tmp_path, "first"))
    submit(tmp_path, "second", _settings(tmp_path, "second"))
    resumed = submit(tmp_path, "first", read_run(tmp_path, "first").run_settings)
    assert resumed.flower_runs == ("101", "103")
    assert resumed.run_settings == first.run_settings
    assert asked[2] == asked[0]
    assert [run.name for run in read_runs(tmp_path)] == ["second", "first"]


def test_a_name_is_not_taken_over_by_a_run_with_other_settings(
    tmp_path: Path, asked: list[tuple[str, ...]]
) -> None:
    before = submit(tmp_path, "first", _settings(tmp_path, "first"))
    config = (tmp_path / "runs" / "first.run.toml").read_bytes()
    with pytest.raises(DeploymentError, match="run first: there is one with other settings"):
        submit(tmp_path, "first", _settings(tmp_path, "first", learner="svm"))
    assert len(asked) == 1
    assert read_run(tmp_path, "first") == before
    assert (tmp_path / "runs" / "first.run.toml").read_bytes() == config


def test_a_run_that_flower_refuses_is_not_on_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object) -> dict[str, Any]:
        raise DeploymentError("flwr run: no answer")

    monkeypatch.setattr(runs, "flwr", silent)
    with pytest.raises(DeploymentError, match="no answer"):
        submit(tmp_path, "first", _settings(tmp_path, "first"))
    assert read_runs(tmp_path) == []
    with pytest.raises(DeploymentError, match="run first: not known; known: none"):
        read_run(tmp_path, "first")


@pytest.mark.parametrize("content", ["", "{", '{"name": "../x", "settings": {}}', "[]"])
def test_a_damaged_record_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "first.run.json").write_text(content, encoding="utf-8")
    with pytest.raises(DeploymentError, match=r"first\.run\.json: damaged; remove it"):
        read_runs(tmp_path)


@pytest.mark.usefixtures("asked")
def test_progress_is_what_the_last_round_told(tmp_path: Path) -> None:
    run = submit(tmp_path, "first", _settings(tmp_path, "first"))
    none = progress_of(run)
    assert (none.rounds, none.stage, none.bytes_up, none.events) == (0, "", 0, ())
    with _log(run) as log:
        log.emit("start", run="ab", sites=["dias"])
        log.emit("round", round=1, stage="moments", sites=["dias"], bytes_up=70, bytes_down=0)
        log.emit("round", round=2, stage="gram", sites=["dias"], bytes_up=90, bytes_down=40)
        log.emit("note", text="all is well")
        found = progress_of(run)
    assert (found.rounds, found.stage, found.bytes_up, found.bytes_down) == (2, "gram", 90, 40)
    assert [event["event"] for event in found.events] == ["start", "round", "round", "note"]
    assert not found.finished
    _finish(run)
    done = progress_of(run)
    assert (done.finished, done.rounds, done.events) == (True, 2, found.events)


@pytest.mark.usefixtures("asked")
def test_bytes_of_fine_tuning_which_tells_those_of_each_round_add_up(tmp_path: Path) -> None:
    run = submit(tmp_path, "first", _settings(tmp_path, "first", strategy="fedavg"))
    with _log(run) as log:
        log.emit("round", round=0, depth=0, bytes_up=5, bytes_down=1)
        log.emit("round", round=1, depth=2, bytes_up=70, bytes_down=80)
        # A kill between checkpoint and event lets a round be told twice.
        log.emit("round", round=1, depth=2, bytes_up=70, bytes_down=80)
        log.emit("round", round=2, depth=2, bytes_up=70, bytes_down=80)
    found = progress_of(run)
    assert (found.rounds, found.stage, found.bytes_up, found.bytes_down) == (2, "2", 145, 161)


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
def run(tmp_path: Path, asked: list[tuple[str, ...]]) -> Submitted:
    return submit(tmp_path, "first", _settings(tmp_path, "first"))


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
    log = _log(run)
    # Before it was followed.
    log.emit("start", sites=["dias", "modern"])

    def ends() -> None:
        # What is told last, and the end, come between two looks.
        log.emit("round", round=2, depth=1, loss=0.5, bytes_up=10, validation={"n": 1})
        log.close()
        _finish(run)
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
        "round 1: moments, 2 sites, 1.50 MB from them so far",
        "round: round 2, depth 1, loss 0.5, bytes_up 10",
        f"finished: {run.run_settings.out}",
    ]
    # Flower is asked now and then, not with each look.
    assert all(b - a >= 3.0 for a, b in zip(superlink.asked, superlink.asked[1:], strict=False))


def test_what_was_told_before_a_run_went_on_is_not_told_again(
    tmp_path: Path, run: Submitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = _log(run)
    log.emit("round", round=1)
    again = submit(tmp_path, "first", run.run_settings)
    superlink = _Superlink(monkeypatch, again)

    def ends() -> None:
        log.emit("resume", rounds_done=1)
        log.close()
        _finish(run)
        superlink.ends("completed")

    superlink.then(ends)
    assert _follow(tmp_path, again) == [
        "resume: rounds_done 1",
        f"finished: {run.run_settings.out}",
    ]


@pytest.mark.parametrize(
    ("outcome", "details", "why"),
    [
        ("failed", "2 of 3 sites count", "run first failed: 2 of 3 sites count"),
        ("stopped", "", "run first stopped: no reason given"),
        # Flower calls a ServerApp completed that has written no result.
        ("completed", "", "run first completed: no reason given"),
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
    _log(run).close()
    _finish(run)
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


def test_a_run_is_stopped_by_the_number_of_its_last_start(
    tmp_path: Path, run: Submitted, asked: list[tuple[str, ...]]
) -> None:
    again = submit(tmp_path, "first", run.run_settings)
    runs.stop_run(tmp_path, again)
    assert asked[-1] == ("stop", "102")
    with pytest.raises(DeploymentError, match="run first: was never submitted"):
        runs.stop_run(tmp_path, run.model_copy(update={"flower_runs": ()}))


def test_rounds_of_fine_tuning_are_told_with_those_to_come_and_the_time_left(
    tmp_path: Path, asked: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = _settings(tmp_path, "tuned", strategy="fedavg", training="plan=head:1,all:2")
    run = submit(tmp_path, "tuned", settings)
    superlink = _Superlink(monkeypatch, run)
    pooled = {"n": 48, "balanced_accuracy_bounds": [0.5, 0.75]}
    rest = {"validation": {"pooled": pooled}, "steps": {}, "bytes_up": 5, "bytes_down": 1}
    with _log(run) as log:
        log.emit("round", round=0, depth=0, loss=None, seconds=3.0, **rest)
        log.emit("round", round=1, depth=0, loss=1.25, seconds=5.0, **rest)
        log.emit("round", round=2, depth=9, loss=0.5, seconds=30.0, **{**rest, "validation": None})
    shown: list[tuple[int, int | None]] = []
    _finish(run)
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
        f"finished: {settings.out}",
    ]
    assert set(shown) == {(2, 3)}


def test_a_superlink_that_comes_back_is_waited_for(
    tmp_path: Path, run: Submitted, superlink: _Superlink
) -> None:
    # Twice, and each time for less than it is waited for.
    superlink.silent = [(0.0, 150.0), (160.0, 300.0)]
    with _log(run) as log:
        log.emit("start", sites=[])
    _finish(run)
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
