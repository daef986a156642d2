"""The audit trail where several processes add to it: one chain, and no line lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from client.deployment.audit import AUDIT_FILE, Answer, AuditTrail, read_trail
from common.errors import AuditError

PROJECT = Path(__file__).parents[2]
WRITERS, LINES = 4, 40
# Waits for the others before each line, so that all of them write at once.
_WRITER = """
import sys
from pathlib import Path
from client.deployment.audit import Answer, AuditTrail

folder, name, lines = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
trail = AuditTrail(folder)
print("ready", flush=True)
sys.stdin.readline()
for number in range(lines):
    trail.add(Answer(name, "train.contribute", str(number), "ridge", "tiny", "", 5))
"""


def answer(run: str, round_: int = 0) -> Answer:
    return Answer(run, "train.contribute", str(round_), "ridge", "tiny", "", 5)


def start_writer(folder: Path, name: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(folder), name, str(LINES)],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_processes_that_add_at_once_make_one_chain_and_lose_no_line(tmp_path: Path) -> None:
    writers = [start_writer(tmp_path, f"run-{number}") for number in range(WRITERS)]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("\n")
        writer.stdin.flush()
    for writer in writers:
        _, problem = writer.communicate(timeout=120)
        assert writer.returncode == 0, problem
    entries = list(read_trail(tmp_path / AUDIT_FILE))
    assert [entry["line"] for entry in entries] == list(range(1, WRITERS * LINES + 1))
    for number in range(WRITERS):
        own = [entry["round"] for entry in entries if entry["run"] == f"run-{number}"]
        assert own == [str(line) for line in range(LINES)]


def test_what_another_process_has_answered_counts_against_the_bounds(tmp_path: Path) -> None:
    here, there = AuditTrail(tmp_path), AuditTrail(tmp_path)
    here.add(answer("7"))
    there.add(answer("7"))
    here.add(answer("8"))
    assert (here.lines, here.messages("7")) == (3, 2)
    assert here.runs == {"7", "8"}


def test_a_line_of_another_process_that_breaks_the_chain_stops_the_site(tmp_path: Path) -> None:
    here = AuditTrail(tmp_path)
    here.add(answer("7"))
    path = tmp_path / AUDIT_FILE
    forged = json.loads(path.read_bytes())
    forged["line"] = 2
    with path.open("ab") as file:
        file.write(json.dumps(forged).encode() + b"\n")
    before = path.read_bytes()
    with pytest.raises(AuditError, match="line 2 is not the one that was written after line 1"):
        here.add(answer("7"))
    assert path.read_bytes() == before


def test_a_trail_that_became_shorter_is_not_gone_on_with(tmp_path: Path) -> None:
    here = AuditTrail(tmp_path)
    here.add(answer("7", 1))
    here.add(answer("7", 2))
    path = tmp_path / AUDIT_FILE
    first = path.read_bytes().splitlines(keepends=True)[0]
    os.truncate(path, len(first))
    with pytest.raises(AuditError, match="lines were taken off its end; nothing is answered"):
        here.add(answer("7", 3))
    assert path.read_bytes() == first
