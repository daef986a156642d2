"""The log of a run's events: whole lines, on disk at once, through kills and lost sinks."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import OutputError, RunFolderError
from server.events import EventLog, read_events

ROOT = Path(__file__).parents[2]


class Recorder:
    """Keeps what it is told; fails from the event that is named on."""

    def __init__(self, fails_at: str = "") -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.closed = 0
        self._fails_at = fails_at

    def event(self, kind: str, facts: Mapping[str, Any], /) -> None:
        if kind == self._fails_at:
            raise OutputError(f"no answer to {kind}")
        self.told.append((kind, dict(facts)))

    def close(self) -> None:
        self.closed += 1
        if self._fails_at == "close":
            raise OutputError("no answer to close")


def _kinds(path: Path) -> list[str]:
    return [event["event"] for event in read_events(path)]


def test_an_event_is_one_line_of_json_with_its_time(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "events.jsonl"
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    with EventLog(path) as log:
        log.emit("joined", site="Zürich\n\u2028", images=12)
        log.emit("round", round=1, validation={"pooled": {"macro_auc": 0.5}}, lost=[], best=None)
    first, second = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert (first["event"], first["site"], first["images"]) == ("joined", "Zürich\n\u2028", 12)
    assert second["validation"] == {"pooled": {"macro_auc": 0.5}}
    assert read_events(path) == [first, second]
    for event in (first, second):
        time = datetime.fromisoformat(event["time"])
        assert time.utcoffset() == timedelta(0)
        assert before <= time <= datetime.now(UTC)


def test_a_line_is_on_disk_before_the_next_thing_happens(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    log = EventLog(path)
    log.emit("started")
    assert _kinds(path) == ["started"]
    log.close()


def test_a_resumed_run_appends(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for kind in ("started", "resumed"):
        with EventLog(path) as log:
            log.emit(kind)
    assert _kinds(path) == ["started", "resumed"]


_LINES = st.lists(
    st.dictionaries(st.text(min_size=1).map(lambda name: f"fact {name}"), st.text()), max_size=3
)


@given(facts=_LINES, data=st.data())
def test_a_log_cut_at_any_byte_is_repaired_and_appended_to(
    tmp_path_factory: pytest.TempPathFactory, facts: list[dict[str, Any]], data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("cut") / "events.jsonl"
    with EventLog(path) as log:
        for number, fact in enumerate(facts):
            log.emit("round", number=number, **fact)
    content = path.read_bytes()
    cut = data.draw(st.integers(0, len(content)))
    path.write_bytes(content[:cut])
    # A line that lacks only its newline is whole.
    whole = content[:cut].count(b"\n") + (content[cut - 1 : cut + 1] == b"}\n")
    assert [event["number"] for event in read_events(path)] == list(range(whole))
    with EventLog(path) as log:
        log.emit("resumed")
    events = read_events(path)
    torn = cut - sum(len(line) for line in content.splitlines(keepends=True)[:whole])
    repaired = [{"event": "log_repaired", "bytes_removed": torn}] if torn > 0 else []
    assert [event["event"] for event in events] == [
        *("round" for _ in range(whole)),
        *(event["event"] for event in repaired),
        "resumed",
    ]
    if repaired:
        assert events[whole]["bytes_removed"] == torn
    assert path.read_bytes().endswith(b"}\n")


def test_a_whole_line_that_lacks_its_newline_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_text('{"time": "now", "event": "round"}', encoding="utf-8")
    with EventLog(path) as log:
        log.emit("resumed")
    assert _kinds(path) == ["round", "resumed"]


@pytest.mark.parametrize("line", ["", "[]", "{}", '{"time": 1}', "{", '{"time":1,"event":NaN}'])
def test_a_damaged_line_within_the_log_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "events.jsonl"
    good = '{"time": "now", "event": "round"}'
    path.write_text(f"{good}\n{line}\n{good}\n", encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"events\.jsonl: line 2 is no event"):
        read_events(path)


def test_an_absent_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"none\.jsonl: cannot read events: No such file"):
        read_events(tmp_path / "none.jsonl")


@pytest.mark.parametrize(
    "fact",
    [math.nan, math.inf, {"pooled": {"macro_auc": math.nan}}, [1.0, -math.inf], Path(), {(): 1}],
)
def test_a_fact_that_is_no_json_is_refused_and_told_to_nobody(tmp_path: Path, fact: Any) -> None:
    path, sink = tmp_path / "events.jsonl", Recorder()
    with EventLog(path, [sink]) as log:
        with pytest.raises(OutputError, match="event round: validation cannot be written as JSON"):
            log.emit("round", round=1, validation=fact)
        assert path.read_bytes() == b""
        assert sink.told == []
        log.emit("round", round=1)
    assert _kinds(path) == ["round"]


@pytest.mark.parametrize("name", ["time", "event"])
def test_a_fact_may_not_replace_the_logs_own(tmp_path: Path, name: str) -> None:
    with (
        EventLog(tmp_path / "events.jsonl") as log,
        pytest.raises(OutputError, match=f"may not be named {name}"),
    ):
        log.emit("round", **{name: 1})


def test_a_sink_is_told_each_event_and_closed_once(tmp_path: Path) -> None:
    sinks = [Recorder(), Recorder()]
    with EventLog(tmp_path / "events.jsonl", sinks) as log:
        log.emit("started", sites=3)
        log.emit("round", round=1)
    for sink in sinks:
        assert sink.told == [("started", {"sites": 3}), ("round", {"round": 1})]
        assert sink.closed == 1


def test_a_run_goes_on_without_a_sink_that_fails_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    failing = [Recorder("round"), Recorder("sink_lost")]
    good = Recorder()
    with EventLog(path, [failing[0], good, failing[1]]) as log:
        log.emit("started")
        log.emit("round", round=1)
        log.emit("ended")
    # The second fails when it is told that the first was lost.
    assert _kinds(path) == ["started", "round", "sink_lost", "sink_lost", "ended"]
    lost = read_events(path)[2]
    assert (lost["sink"], lost["reason"]) == ("Recorder", "no answer to round")
    assert [kind for kind, _ in good.told] == _kinds(path)
    assert [kind for kind, _ in failing[0].told] == ["started"]
    assert good.closed == 1


def test_a_sink_that_cannot_close_keeps_no_other_open(tmp_path: Path) -> None:
    path, sinks = tmp_path / "events.jsonl", [Recorder("close"), Recorder()]
    with EventLog(path, sinks) as log:
        log.emit("ended")
    assert [sink.closed for sink in sinks] == [1, 1]
    assert _kinds(path) == ["ended", "sink_lost"]


def test_an_exception_is_told_before_the_log_closes(tmp_path: Path) -> None:
    path, sink = tmp_path / "events.jsonl", Recorder()
    with pytest.raises(RunFolderError), EventLog(path, [sink]):
        raise RunFolderError("runs/one: exists already")
    (failed,) = read_events(path)
    assert (failed["event"], failed["error"]) == ("failed", "RunFolderError")
    assert failed["message"] == "runs/one: exists already"
    assert sink.told[0][0] == "failed"
    assert sink.closed == 1


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write events: Is a directory"):
        EventLog(tmp_path)


_EMIT_FOR_EVER = """
import sys
from pathlib import Path
from server.events import EventLog, read_events

path = Path(sys.argv[1])
with EventLog(path) as log:
    start = sum(event["event"] == "round" for event in read_events(path))
    for number in range(start, start + 100_000):
        log.emit("round", round=number, padding="x" * 20_000)
        print(number, flush=True)
"""


def test_a_process_that_is_killed_while_it_emits_loses_no_event_before(tmp_path: Path) -> None:
    path, last = tmp_path / "events.jsonl", -1
    for lines in (1, 7, 20):
        with subprocess.Popen(
            [sys.executable, "-c", _EMIT_FOR_EVER, str(path)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            seen = [int(process.stdout.readline()) for _ in range(lines)]
            process.kill()
            seen += [int(line) for line in process.stdout.read().split("\n") if line.strip()]
        assert seen[0] == last + 1
        rounds = [event["round"] for event in read_events(path) if event["event"] == "round"]
        assert rounds == list(range(len(rounds)))
        assert rounds[-1] in (seen[-1], seen[-1] + 1)
        last = rounds[-1]
