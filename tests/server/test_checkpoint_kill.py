"""A run's state on disk survives a kill at any moment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from common.errors import OutputError
from server.checkpoint import Checkpoint, CheckpointFolder

ROOT = Path(__file__).parents[2]


def _checkpoint(number: int, **changed: Any) -> Checkpoint:
    about: dict[str, Any] = {
        "identity": "settings",
        "run": "ab12",
        "round": number,
        "arrays": {"global": {"w": np.full((3, 2), number, np.float32)}},
        "facts": {"best": number, "history": [{"round": number, "loss": 0.1}]},
        **changed,
    }
    return Checkpoint(**about)


def _whole(folder: Path, identity: str = "settings") -> Checkpoint:
    checkpoint, notes = CheckpointFolder(folder).latest(identity)
    assert checkpoint is not None
    assert notes == ()
    return checkpoint


class _Cut(BaseException):
    """Stands for a kill: nothing after it runs, not even what handles errors."""


_STEPS = ("fsync", "replace", "unlink")


def _cut_at(patch: pytest.MonkeyPatch, step: int, *, after: bool, error: BaseException) -> None:
    """Let the step-th call that changes the disk fail, before or after it does its work."""
    calls = iter(range(1, 10_000))

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            number = next(calls)
            if number == step and not after:
                raise error
            result = original(*arguments, **named)
            if number == step:
                raise error
            return result

        return call

    for name in _STEPS:
        patch.setattr(os, name, wrap(getattr(os, name)))


def _save_with_cuts(
    folder: Path, rounds: tuple[int, ...], tried: Checkpoint, *, after: bool, error: BaseException
) -> int:
    """Cut a saving at every step in turn; give the number of steps at which it was cut."""
    for step in range(1, 100):
        here = folder / str(step)
        for number in rounds:
            CheckpointFolder(here).save(_checkpoint(number))
        done = False
        with pytest.MonkeyPatch.context() as patch:
            _cut_at(patch, step, after=after, error=error)
            try:
                CheckpointFolder(here).save(tried)
                done = True
            except (_Cut, OutputError):
                pass
        back = _whole(here)
        old = _checkpoint(rounds[-1])
        expected = tried if done or back.facts == tried.facts else old
        assert (back.round, back.facts) == (expected.round, expected.facts)
        np.testing.assert_array_equal(back.arrays["global"]["w"], expected.arrays["global"]["w"])
        CheckpointFolder(here).save(_checkpoint(9))
        assert _whole(here).round == 9
        assert not list(here.glob("*.partial"))
        if done:
            return step - 1
    raise AssertionError("the saving never came to its end")


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("error", [_Cut(), OSError(28, "No space left on device")])
@pytest.mark.parametrize("rounds", [(1,), (1, 2)])
def test_a_cut_between_any_two_writes_leaves_a_whole_checkpoint(
    tmp_path: Path, rounds: tuple[int, ...], error: BaseException, after: bool
) -> None:
    tried = _checkpoint(rounds[-1] + 1)
    steps = _save_with_cuts(tmp_path, rounds, tried, after=after, error=error)
    # Two files, each flushed, renamed and its folder flushed; two removals where two were kept.
    assert steps == (8 if len(rounds) == 2 else 6)


@pytest.mark.parametrize("after", [False, True])
def test_a_cut_while_the_only_round_is_saved_again_leaves_a_whole_checkpoint(
    tmp_path: Path, after: bool
) -> None:
    arrays = {"global": {"w": np.full((3, 2), 5, np.float32)}}
    tried = _checkpoint(1, arrays=arrays, facts={"best": 5})
    assert _save_with_cuts(tmp_path, (1,), tried, after=after, error=_Cut()) == 7


def test_a_file_is_on_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    replace, fsync = os.replace, os.fsync

    def record_replace(source: Path, target: Path) -> None:
        steps.append(Path(target).suffix)
        replace(source, target)

    def record_fsync(number: int) -> None:
        steps.append("fsync")
        fsync(number)

    monkeypatch.setattr(os, "replace", record_replace)
    monkeypatch.setattr(os, "fsync", record_fsync)
    CheckpointFolder(tmp_path).save(_checkpoint(1))
    assert steps == ["fsync", ".safetensors", "fsync", "fsync", ".json", "fsync"]


def test_a_full_disk_is_left_without_half_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OutputError, match="round-0001: cannot write .*: No space left on device"):
        CheckpointFolder(tmp_path).save(_checkpoint(1))
    assert list(tmp_path.iterdir()) == []


_SAVE_FOR_EVER = """
import sys
from pathlib import Path
import numpy as np
from server.checkpoint import Checkpoint, CheckpointFolder

folder = CheckpointFolder(Path(sys.argv[1]))
found, notes = folder.latest("settings")
assert not notes, notes
start = found.round if found else 0
for number in range(start + 1, start + 5_000):
    arrays = {"global": {"w": np.full(400_000, number, np.float32)}}
    folder.save(Checkpoint("settings", "ab12", number, arrays, {"number": number}))
    print(number, flush=True)
"""


def test_a_process_that_is_killed_while_it_saves_resumes_where_it_was(tmp_path: Path) -> None:
    last = 0
    for lines in (1, 2, 3, 5, 8):
        with subprocess.Popen(
            [sys.executable, "-c", _SAVE_FOR_EVER, str(tmp_path)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            seen = [int(process.stdout.readline()) for _ in range(lines)]
            process.kill()
            seen += [int(line) for line in process.stdout.read().split("\n") if line.strip()]
        assert process.returncode != 0
        assert seen[0] == last + 1
        back = _whole(tmp_path)
        # The one under way at the kill counts or does not.
        assert back.round in (seen[-1], seen[-1] + 1)
        assert back.facts == {"number": back.round}
        assert np.unique(back.arrays["global"]["w"]).tolist() == [back.round]
        last = back.round
