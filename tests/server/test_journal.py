"""A federation by sums whose coordinator dies goes on, to the same bits."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flwr.app import Context, RecordDict

from common import wire
from common.errors import RoundError, RunFolderError
from common.model import load_model
from common.settings import RunSettings
from server.app import app
from server.checkpoint import CheckpointFolder
from server.deployment.registry import Member, write_registry
from server.events import EVENTS_FILE, read_events
from server.federation import run_federation
from server.journal import identity_of
from server.sum_strategy import SumStrategy

if TYPE_CHECKING:
    from flwr.app import Message

    from tests.server.conftest import FakeGrid, Hospitals

FOLDS = "folds=3 search=grid:0.01:1:3 calibrate=none"
TASKS = [("logistic", "pca=3"), ("ridge", FOLDS)]
SITES = ["dias", "modern", "molemax", "rosendahl"]


class _DiedError(Exception):
    """The coordinator's process has ended."""


class _Coordinator:
    """Runs one task again and again, with one folder of unfinished work."""

    def __init__(self, hospitals: Hospitals, folder: Path, learner: str, settings: str) -> None:
        self.hospitals, self.folder = hospitals, folder
        self.task: dict[str, Any] = {"learner": learner, "learner_settings": settings}
        self.work = folder / "work"
        self.reports: list[str] = []
        self._runs = 0

    def start(self, dies_at: float = float("inf"), **changes: Any) -> tuple[Path, FakeGrid]:
        """Run; the coordinator dies when it sends its `dies_at`-th message after joining."""
        self._runs += 1
        grid = self.hospitals.grid(**self.task, draws=5)
        push, sent = grid.push_messages, 0

        def dying(messages: Iterable[Message]) -> Iterable[str]:
            nonlocal sent
            given = list(messages)
            sent += sum(message.metadata.message_type != wire.JOIN for message in given)
            if sent >= dies_at:
                raise _DiedError
            return push(given)

        grid.push_messages = dying  # type: ignore[method-assign]
        out = self.folder / f"out-{self._runs}"
        out.mkdir()
        settings = RunSettings(**{**self.settings(), **changes})
        run_federation(grid, settings, out, self.reports.append, self.work)
        return out, grid

    def settings(self) -> dict[str, Any]:
        return {"backbone": "tiny", "draws": 5, **self.task}

    def die(self, at: float) -> None:
        with pytest.raises(_DiedError):
            self.start(at)

    def events(self) -> list[dict[str, Any]]:
        """Give what happened, without the lines that tell it to an operator."""
        found = read_events(self.work / EVENTS_FILE)
        return [event for event in found if event["event"] != "note"]

    def kinds(self) -> list[str]:
        return [event["event"] for event in self.events()]


@pytest.fixture
def coordinator_of(hospitals: Hospitals, tmp_path: Path) -> Callable[..., _Coordinator]:
    hospitals.deal(3)

    def make(name: str, learner: str, settings: str) -> _Coordinator:
        (tmp_path / name).mkdir()
        return _Coordinator(hospitals, tmp_path / name, learner, settings)

    return make


CoordinatorOf = Callable[..., _Coordinator]


def _result(out: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((out / "result.json").read_text(encoding="utf-8"))
    return result


def _assert_same_model(out: Path, expected: Path) -> None:
    found, wanted = load_model(out), load_model(expected)
    assert found.description == wanted.description
    assert found.arrays.keys() == wanted.arrays.keys()
    for name, array in wanted.arrays.items():
        assert array.tobytes() == found.arrays[name].tobytes(), name


def _contributions(grid: FakeGrid) -> int:
    return [message.metadata.message_type for message in grid.asked].count(wire.CONTRIBUTE)


@pytest.mark.parametrize(("learner", "settings"), TASKS)
def test_a_run_that_dies_in_any_round_goes_on_to_the_same_bits(
    hospitals: Hospitals, coordinator_of: CoordinatorOf, learner: str, settings: str
) -> None:
    whole, all_asked = coordinator_of("whole", learner, settings).start()
    expected = _result(whole)
    rounds = expected["rounds"]
    assert rounds >= 3
    assert _contributions(all_asked) == 4 * rounds
    for round_ in range(1, rounds + 2):
        coordinator = coordinator_of(f"dies-in-{round_}", learner, settings)
        # The second message of the round, or of the evaluation.
        coordinator.die(4 * (round_ - 1) + 2)
        # The sites have connected anew, under other numbers.
        hospitals.sites = {50 - node: site for node, site in hospitals.sites.items()}
        out, grid = coordinator.start()
        _assert_same_model(out, whole)
        found = _result(out)
        for name in ("test", "rounds", "stages", "selection", "partition"):
            assert found[name] == expected[name], name
        assert _contributions(grid) == 4 * (rounds - round_ + 1)
        before, after = ["round"] * (round_ - 1), ["round"] * (rounds - round_ + 1)
        resumed = ["resume"] if before else []
        assert coordinator.kinds() == ["start", *before, "failed", "start", *resumed, *after]


def test_events_tell_the_sites_the_rounds_and_where_a_run_went_on(
    coordinator_of: CoordinatorOf,
) -> None:
    coordinator = coordinator_of("torn", "ridge", "calibrate=none")
    coordinator.die(5)
    out, _ = coordinator.start()
    start, first, failed, again, resume, second = coordinator.events()
    assert start["sites"] == again["sites"] == SITES
    # One run, whatever its starts.
    assert start["run"] == again["run"]
    assert (first["round"], first["stage"], first["sites"]) == (1, "moments", SITES)
    assert failed["error"] == "_DiedError"
    assert resume["rounds_done"] == 1
    assert (second["round"], second["stage"]) == (2, "gram")
    assert (out / EVENTS_FILE).read_bytes() == (coordinator.work / EVENTS_FILE).read_bytes()
    assert "going on after round 1" in coordinator.reports
    told = read_events(coordinator.work / EVENTS_FILE)
    notes = [event["text"] for event in told if event["event"] == "note"]
    assert notes == coordinator.reports


def test_what_went_over_the_wire_before_is_counted_and_nothing_twice(
    hospitals: Hospitals, coordinator_of: CoordinatorOf, strategy_of: Callable[..., SumStrategy]
) -> None:
    joining = strategy_of(hospitals.grid())
    joining.join(0, hospitals.sites[7].backbone.fingerprint, 1)
    join_up = joining.traffic.bytes_up
    expected = _result(coordinator_of("whole", *TASKS[0]).start()[0])
    torn = coordinator_of("torn", *TASKS[0])
    torn.die(9)
    torn.die(9)
    found = _result(torn.start()[0])
    # Beside the rounds, sites have told three times who they are, in answer to empty messages.
    assert found["bytes_up"] == expected["bytes_up"] + 2 * join_up
    assert found["bytes_down"] == expected["bytes_down"]
    rounds = [event for event in torn.events() if event["event"] == "round"]
    assert [event["round"] for event in rounds] == list(range(1, expected["rounds"] + 1))
    for name in ("bytes_up", "bytes_down"):
        so_far = [event[name] for event in rounds]
        assert so_far == sorted(set(so_far)), name


def _one_less(hospitals: Hospitals) -> None:
    del hospitals.sites[hospitals.node("modern")]


def _one_changed(hospitals: Hospitals) -> None:
    node = hospitals.node("modern")
    hospitals.replace(node, lesions=hospitals.sites[node].lesions - 1)


@pytest.mark.parametrize("change", [_one_less, _one_changed])
def test_sums_of_other_sites_do_not_mix_so_the_run_begins_anew_and_says_so(
    hospitals: Hospitals, coordinator_of: CoordinatorOf, change: Callable[[Hospitals], None]
) -> None:
    torn = coordinator_of("torn", *TASKS[0])
    torn.die(10)
    change(hospitals)
    out, _ = torn.start()
    fresh, _ = coordinator_of("fresh", *TASKS[0]).start()
    _assert_same_model(out, fresh)
    found, expected = _result(out), _result(fresh)
    for name in ("rounds", "stages", "bytes_up", "bytes_down", "test"):
        assert found[name] == expected[name], name
    kinds = torn.kinds()
    assert kinds[:5] == ["start", *["round"] * 2, "failed", "start"]
    assert kinds[5:] == ["begin_again", *["round"] * expected["rounds"]]
    events = torn.events()
    assert events[5]["reason"] == "the sites are not those of the checkpoint"
    # Nothing of the abandoned attempt bears the token of the new one.
    assert events[4]["run"] != events[0]["run"]
    kept, _ = CheckpointFolder(torn.work).latest(identity_of(RunSettings(**torn.settings())))
    assert kept is not None
    assert kept.run == events[4]["run"]


def test_a_run_with_a_ledger_begins_anew_and_counts_only_what_it_asked(
    coordinator_of: CoordinatorOf,
) -> None:
    task = ("ridge", "calibrate=none ledger=true")
    torn = coordinator_of("torn", *task)
    torn.die(6)
    out, grid = torn.start()
    fresh, _ = coordinator_of("fresh", *task).start()
    _assert_same_model(out, fresh)
    found, expected = _result(out), _result(fresh)
    assert (found["rounds"], found["bytes_up"]) == (expected["rounds"], expected["bytes_up"])
    assert _contributions(grid) == 4 * expected["rounds"]
    assert "resume" not in torn.kinds()
    assert [e["reason"] for e in torn.events() if e["event"] == "begin_again"] == [
        "a ledger needs every site's sums of every round"
    ]
    files = {path.relative_to(fresh) for path in fresh.rglob("*.safetensors")}
    # The model, and an entry a site.
    assert len(files) == 5
    for path in files:
        assert (out / path).read_bytes() == (fresh / path).read_bytes(), path


@pytest.mark.parametrize(
    "changes", [{"learner_settings": "pca=2"}, {"split_seed": 2}, {"minimum_count": 9}]
)
def test_a_run_with_other_settings_is_refused_before_any_site_is_asked(
    coordinator_of: CoordinatorOf, changes: dict[str, Any]
) -> None:
    torn = coordinator_of("torn", *TASKS[0])
    torn.die(6)
    with pytest.raises(RunFolderError, match="run with other settings"):
        torn.start(**changes)
    assert torn.kinds() == ["start", "round", "failed"]


def test_settings_that_change_no_number_may_change_when_a_run_goes_on(
    coordinator_of: CoordinatorOf,
) -> None:
    torn = coordinator_of("torn", *TASKS[0])
    torn.die(6)
    torn.start(deadline=5.0, window=1, retries=0, overwrite=True, out="/elsewhere")
    assert "resume" in torn.kinds()


def test_a_site_lost_in_mid_run_is_told_with_its_reason(
    hospitals: Hospitals, coordinator_of: CoordinatorOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinator = coordinator_of("whole", "ridge", "calibrate=none")
    make, seen = hospitals.grid, 0

    def losing(message: Message, right: Message) -> list[Message]:
        nonlocal seen
        seen += message.metadata.message_type == wire.CONTRIBUTE
        return [] if seen == 2 else [right]

    def grid(**settings: Any) -> FakeGrid:
        made = make(**settings)
        made.tamper[hospitals.node("modern")] = losing
        return made

    monkeypatch.setattr(hospitals, "grid", grid)
    out, _ = coordinator.start(quorum=3)
    others = [name for name in SITES if name != "modern"]
    assert coordinator.kinds() == ["start", "round", "left_out", "round", "round"]
    _, _, lost, *rounds = coordinator.events()
    assert (lost["round"], lost["kind"]) == (2, "gram")
    assert lost["sites"] == {"modern": "no reply within 600 s"}
    assert [(one["round"], one["sites"]) for one in rounds] == [(3, others), (4, others)]
    assert list(load_model(out).description.sites) == others


def test_a_failed_run_leaves_its_checkpoints_and_a_finished_one_nothing(
    hospitals: Hospitals, tmp_path: Path
) -> None:
    out = tmp_path / "runs" / "first"
    members = [
        Member(site=site.name, node_id=node, key="") for node, site in hospitals.sites.items()
    ]
    write_registry(tmp_path / "sites.json", tuple(members))
    settings = RunSettings(
        backbone="tiny",
        learner_settings="calibrate=none",
        registry=str(tmp_path / "sites.json"),
        out=str(out),
    )

    def start(grid: FakeGrid) -> None:
        app(grid, Context(1, 0, {}, RecordDict(), settings.run_config()))

    broken = hospitals.grid(learner_settings="calibrate=none")
    broken.tamper[9] = lambda message, right: [] if message.metadata.group_id == "2" else [right]
    with pytest.raises(RoundError):
        start(broken)
    assert [path.name for path in out.parent.iterdir()] == ["first.unfinished"]
    grid = hospitals.grid(learner_settings="calibrate=none")
    start(grid)
    assert _contributions(grid) == 4
    assert [path.name for path in out.parent.iterdir()] == ["first"]
    events = [event["event"] for event in read_events(out / EVENTS_FILE)]
    kinds = [event for event in events if event != "note"]
    assert kinds == ["start", "round", "failed", "start", "resume", "round"]
