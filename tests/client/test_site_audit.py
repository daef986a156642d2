"""The audit trail: every change to it is found, and a kill or a full disk breaks nothing."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.deployment.audit import AUDIT_FILE, Answer, AuditTrail, Sent, read_trail, total_bytes
from common.errors import AuditError

LINES = 6


def answer(number: int = 0, **changes: Any) -> Answer:
    sent = (Sent("gram", (7, 8), "float64", 576 + number), Sent("count", (), "text", 2))
    values: dict[str, Any] = {
        "run": str(number % 2),
        "kind": "train.contribute",
        "round": str(number),
        "learner": "ridge",
        "backbone": "tiny",
        "strategy": "",
        "minimum_count": 5,
        "sent": sent,
    }
    return Answer(**{**values, **changes})


def write_lines(folder: Path, first: int = 0) -> list[bytes]:
    folder.mkdir(exist_ok=True)
    trail = AuditTrail(folder)
    for number in range(first, first + LINES):
        trail.add(answer(number))
    return (folder / AUDIT_FILE).read_bytes().splitlines(keepends=True)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    return write_lines(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Another site's trail."""
    return write_lines(tmp_path_factory.mktemp("other"), first=100)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For trails that a property writes anew each time."""
    return tmp_path_factory.mktemp("changed")


def assert_broken(folder: Path, content: bytes, line: int) -> None:
    """Both who verifies the trail and who would go on with it must name this line."""
    path = folder / AUDIT_FILE
    path.write_bytes(content)
    for read in (lambda: list(read_trail(path)), lambda: AuditTrail(folder)):
        with pytest.raises(AuditError) as caught:
            read()
        assert f"{AUDIT_FILE}: line {line} is " in str(caught.value)
    assert path.read_bytes() == content


# The chain


def test_a_trail_is_whole_after_many_answers_and_new_starts(tmp_path: Path) -> None:
    for start in range(4):
        trail = AuditTrail(tmp_path)
        assert trail.lines == 10 * start
        for number in range(10):
            trail.add(answer(number))
    entries = list(read_trail(tmp_path / AUDIT_FILE))
    assert [entry["line"] for entry in entries] == list(range(1, 41))
    # The chain by hand, from the file as JSON lines.
    before = "0" * 64
    for line in (tmp_path / AUDIT_FILE).read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        assert entry["before"] == before
        before = entry.pop("hash")
        told = json.dumps(entry, sort_keys=True, separators=(",", ":"))
        assert before == hashlib.sha256(told.encode()).hexdigest()


def test_no_trail_is_one_without_lines(tmp_path: Path) -> None:
    assert list(read_trail(tmp_path / AUDIT_FILE)) == []
    assert AuditTrail(tmp_path).lines == 0


@given(data=st.data())
def test_a_byte_that_is_changed_is_found_in_its_line(
    written: list[bytes], folder: Path, data: st.DataObject
) -> None:
    line = data.draw(st.integers(1, LINES - 1))
    place = data.draw(st.integers(0, len(written[line - 1]) - 1))
    old = written[line - 1][place]
    new = data.draw(st.integers(0, 255).filter(lambda byte: byte != old))
    changed = bytearray(written[line - 1])
    changed[place] = new
    lines = [*written[: line - 1], bytes(changed), *written[line:]]
    assert_broken(folder, b"".join(lines), line)


@given(data=st.data())
def test_lines_that_are_deleted_swapped_or_inserted_are_found_where_it_begins(
    written: list[bytes], others: list[bytes], folder: Path, data: st.DataObject
) -> None:
    # A trail may begin with another's first line: it is then another's, and so is its last hash.
    known = [*written, *others[1:]]
    order = list(range(LINES))
    for _ in range(data.draw(st.integers(1, 3))):
        kind = data.draw(st.sampled_from(["delete", "swap", "insert"]))
        place = data.draw(st.integers(0, len(order) - 1)) if order else 0
        if kind == "insert":
            order.insert(place, data.draw(st.integers(0, len(known) - 1)))
        elif kind == "swap" and order:
            other = data.draw(st.integers(0, len(order) - 1))
            order[place], order[other] = order[other], order[place]
        elif order:
            del order[place]
    content = b"".join(known[index] for index in order)
    wrong = [number for number, index in enumerate(order, 1) if index != number - 1]
    if wrong:
        assert_broken(folder, content, wrong[0])
    else:
        # Lines off the end: what the last line's hash, kept elsewhere, is for.
        (folder / AUDIT_FILE).write_bytes(content)
        assert len(list(read_trail(folder / AUDIT_FILE))) == len(order)


def test_a_line_that_is_written_anew_with_its_right_hash_is_found_in_the_next(
    written: list[bytes], others: list[bytes], tmp_path: Path
) -> None:
    forged = json.loads(written[2])
    forged["sent"], forged["hash"] = [], None
    told = {name: value for name, value in forged.items() if name != "hash"}
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    forged["hash"] = hashlib.sha256(text.encode()).hexdigest()
    line = json.dumps(forged).encode() + b"\n"
    assert_broken(tmp_path, b"".join([*written[:2], line, *written[3:]]), 4)
    # So is what another trail has in this place.
    assert_broken(tmp_path, b"".join([*written[:2], *others[2:]]), 3)


def test_a_name_that_stands_twice_in_a_line_is_found(written: list[bytes], tmp_path: Path) -> None:
    lie = written[2].replace(b'"learner": ', b'"learner": "ncm", "learner": ')
    assert json.loads(lie) == json.loads(written[2])
    assert_broken(tmp_path, b"".join([*written[:2], lie, *written[3:]]), 3)


@pytest.mark.parametrize(
    "line", [b"", b"[]", b"null", b"{}", b'{"line": 4}', b"[" * 100_000, b"9" * 5000, b"\0" * 9]
)
def test_a_line_of_anything_else_is_found(
    written: list[bytes], tmp_path: Path, line: bytes
) -> None:
    assert_broken(tmp_path, b"".join([*written[:3], line + b"\n", *written[3:]]), 4)


@given(cut=st.integers(0, 10_000))
def test_a_last_line_that_was_cut_short_is_dropped_and_the_trail_goes_on(
    written: list[bytes], folder: Path, cut: int
) -> None:
    torn = written[-1][: cut % len(written[-1])]
    path = folder / AUDIT_FILE
    path.write_bytes(b"".join(written[:-1]) + torn)
    # Who only looks sees the whole lines, also while one is being written.
    assert len(list(read_trail(path))) == LINES - 1
    assert path.read_bytes().endswith(torn)
    trail = AuditTrail(folder)
    trail.add(answer(77))
    assert path.read_bytes().startswith(b"".join(written[:-1]))
    assert [entry["line"] for entry in read_trail(path)] == [*range(1, LINES + 1)]
    assert list(read_trail(path))[-1]["round"] == "77"


@given(text=st.text(max_size=30))
def test_whatever_text_a_coordinator_sends_is_read_back(folder: Path, text: str) -> None:
    path = folder / AUDIT_FILE
    path.unlink(missing_ok=True)
    trail = AuditTrail(folder)
    for _ in range(2):
        trail.add(answer(kind=text, learner=text, sent=(Sent(text, (), text, 1),)))
    assert [entry["learner"] for entry in read_trail(path)] == [text, text]


def test_messages_are_counted_by_run_without_refusals_also_after_a_new_start(
    tmp_path: Path,
) -> None:
    trail = AuditTrail(tmp_path)
    for run, refused in [("7", ""), ("7", "BoundsError"), ("8", "BoundsError"), ("7", "")]:
        trail.add(answer(run=run, refused=refused))
    for one in (trail, AuditTrail(tmp_path)):
        assert [one.messages(run) for run in ("7", "8", "9")] == [2, 0, 0]
        assert one.runs == {"7"}


@pytest.mark.parametrize("lost", [0, 1, 200])
def test_the_next_line_is_whole_after_a_disk_that_was_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: int
) -> None:
    trail = AuditTrail(tmp_path)
    trail.add(answer(1))

    def full(handle: int) -> None:
        os.truncate(handle, os.fstat(handle).st_size - lost)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for _ in range(2):
            with pytest.raises(AuditError, match="No space left on device; nothing is answered"):
                trail.add(answer(2, run="lost"))
    trail.add(answer(3))
    entries = list(read_trail(tmp_path / AUDIT_FILE))
    assert [entry["round"] for entry in entries] == ["1", "3"]
    assert trail.messages("lost") == 0


def test_a_first_line_that_could_not_be_written_can_be_written_later(tmp_path: Path) -> None:
    folder = tmp_path / "unmounted"
    trail = AuditTrail(folder)
    with pytest.raises(AuditError, match="nothing is answered"):
        trail.add(answer(1))
    folder.mkdir()
    trail.add(answer(2))
    assert [entry["round"] for entry in read_trail(folder / AUDIT_FILE)] == ["2"]


def test_what_leaves_is_added_up() -> None:
    assert total_bytes(answer(4).sent) == 582
    assert total_bytes(()) == 0
