"""A run's state on disk comes back bit for bit, or is refused."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from common.errors import OutputError, RunFolderError
from server.checkpoint import Checkpoint, CheckpointFolder


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


def _only(folder: Path, pattern: str) -> Path:
    (path,) = folder.glob(pattern)
    return path


_NAMES = st.text(max_size=12)
_ARRAYS = st.sampled_from(["<f4", "<f8", "<i8"]).flatmap(
    lambda dtype: nps.arrays(dtype, nps.array_shapes(min_dims=0, max_dims=3, min_side=0))
)


@given(
    arrays=st.dictionaries(_NAMES, st.dictionaries(_NAMES, _ARRAYS, max_size=3), max_size=3),
    facts=st.dictionaries(
        _NAMES,
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, width=64).filter(math.isfinite)
            | _NAMES,
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=3),
            max_leaves=6,
        ),
        max_size=3,
    ),
)
def test_any_name_shape_and_bit_comes_back(
    arrays: dict[str, dict[str, Any]], facts: dict[str, Any]
) -> None:
    with tempfile.TemporaryDirectory() as name:
        CheckpointFolder(Path(name)).save(_checkpoint(3, arrays=arrays, facts=facts))
        back = _whole(Path(name))
    assert (back.identity, back.run, back.round) == ("settings", "ab12", 3)
    assert repr(back.facts) == repr(facts)
    assert list(back.arrays) == list(arrays)
    for group, named in arrays.items():
        assert list(back.arrays[group]) == list(named)
        for key, array in named.items():
            found = back.arrays[group][key]
            assert (found.dtype, found.shape) == (array.dtype, array.shape)
            assert found.tobytes() == array.tobytes()


def test_a_name_may_hold_any_character(tmp_path: Path) -> None:
    names = [("a/b", "c"), ("a", "b/c"), ("__metadata__", ""), ('"', "\\"), ("\0", "\ud800")]
    arrays: dict[str, dict[str, Any]] = {"empty": {}}
    for value, (group, name) in enumerate(names):
        arrays.setdefault(group, {})[name] = np.array(value)
    CheckpointFolder(tmp_path).save(_checkpoint(1, arrays=arrays))
    assert _whole(tmp_path).arrays == arrays


def test_strides_do_not_reorder_values(tmp_path: Path) -> None:
    array = np.arange(12.0).reshape(3, 4)
    views = {"t": array.T, "step": array[::2, ::-1], "fortran": np.asfortranarray(array)}
    CheckpointFolder(tmp_path).save(_checkpoint(1, arrays={"g": views}))
    for name, found in _whole(tmp_path).arrays["g"].items():
        np.testing.assert_array_equal(found, views[name])
        assert found.flags.writeable


def test_nan_and_signed_zero_in_arrays_keep_their_bits(tmp_path: Path) -> None:
    bits = np.array([0x7FC01234, 0xFFC00001, 0x80000000, 0x7F800000], dtype="<u4")
    CheckpointFolder(tmp_path).save(_checkpoint(1, arrays={"g": {"w": bits.view("<f4")}}))
    assert _whole(tmp_path).arrays["g"]["w"].tobytes() == bits.tobytes()


def test_an_empty_or_absent_folder_holds_no_checkpoint(tmp_path: Path) -> None:
    assert CheckpointFolder(tmp_path).latest("settings") == (None, ())
    assert CheckpointFolder(tmp_path / "none").latest("settings") == (None, ())


def test_the_latest_two_rounds_are_kept(tmp_path: Path) -> None:
    folder = CheckpointFolder(tmp_path)
    for number in (1, 2, 9_998, 9_999, 10_000):
        folder.save(_checkpoint(number))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 4
    assert [name for name in names if name.endswith(".json")] == [
        "round-10000.json",
        "round-9999.json",
    ]
    assert _whole(tmp_path).round == 10_000


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    others = ["notes.json", "round-1.json", "round-0001.txt", "model.safetensors"]
    for name in others:
        (tmp_path / name).write_text("mine", encoding="utf-8")
    for number in (1, 2, 3):
        CheckpointFolder(tmp_path).save(_checkpoint(number))
    assert all((tmp_path / name).read_text(encoding="utf-8") == "mine" for name in others)


def _cut_file(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _change_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _fill_with_a_list(path: Path) -> None:
    path.write_bytes(b"[]")


@pytest.mark.parametrize("pattern", ["round-0002.json", "round-0002-*.safetensors"])
@pytest.mark.parametrize("damage", [_cut_file, _change_byte, _empty, _fill_with_a_list])
def test_a_damaged_newest_is_passed_over_with_a_note(
    tmp_path: Path, damage: Callable[[Path], None], pattern: str
) -> None:
    for number in (1, 2):
        CheckpointFolder(tmp_path).save(_checkpoint(number))
    damage(_only(tmp_path, pattern))
    checkpoint, notes = CheckpointFolder(tmp_path).latest("settings")
    assert checkpoint is not None
    assert checkpoint.round == 1
    (note,) = notes
    assert "round-0002.json: damaged: " in note


@pytest.mark.parametrize(
    ("old", "new"),
    [('"best": 2', '"best": 3'), ('"round": 2', '"round": 8'), ("0.1", "NaN")],
)
def test_a_changed_description_is_passed_over(tmp_path: Path, old: str, new: str) -> None:
    for number in (1, 2):
        CheckpointFolder(tmp_path).save(_checkpoint(number))
    path = tmp_path / "round-0002.json"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    checkpoint, notes = CheckpointFolder(tmp_path).latest("settings")
    assert checkpoint is not None
    assert (checkpoint.round, len(notes)) == (1, 1)


def test_a_renamed_description_is_passed_over(tmp_path: Path) -> None:
    CheckpointFolder(tmp_path).save(_checkpoint(2))
    (tmp_path / "round-0002.json").rename(tmp_path / "round-0005.json")
    checkpoint, notes = CheckpointFolder(tmp_path).latest("settings")
    assert checkpoint is None
    assert len(notes) == 1


def test_missing_arrays_are_passed_over(tmp_path: Path) -> None:
    for number in (1, 2):
        CheckpointFolder(tmp_path).save(_checkpoint(number))
    _only(tmp_path, "round-0002-*.safetensors").unlink()
    checkpoint, (note,) = CheckpointFolder(tmp_path).latest("settings")
    assert checkpoint is not None
    assert checkpoint.round == 1
    assert "is missing" in note


def test_a_run_that_went_on_from_before_damaged_rounds_is_not_pruned_for_them(
    tmp_path: Path,
) -> None:
    for number in (7, 8):
        CheckpointFolder(tmp_path).save(_checkpoint(number))
    for path in tmp_path.glob("*.safetensors"):
        _cut_file(path)
    checkpoint, notes = CheckpointFolder(tmp_path).latest("settings")
    assert checkpoint is None
    assert len(notes) == 2
    CheckpointFolder(tmp_path).save(_checkpoint(1))
    assert _whole(tmp_path).round == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_a_run_with_other_settings_does_not_resume(tmp_path: Path) -> None:
    CheckpointFolder(tmp_path).save(_checkpoint(1))
    with pytest.raises(RunFolderError, match="with other settings; resume with the settings of"):
        CheckpointFolder(tmp_path).latest("others")


def test_another_versions_format_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as changed:
        changed.setattr("server.checkpoint.FORMAT", 1)
        CheckpointFolder(tmp_path).save(_checkpoint(1))
    with pytest.raises(RunFolderError, match="another version of dermafed"):
        CheckpointFolder(tmp_path).latest("settings")


def test_an_unreadable_file_is_an_error_and_no_step_back(tmp_path: Path) -> None:
    CheckpointFolder(tmp_path).save(_checkpoint(1))
    (tmp_path / "round-0002.json").mkdir()
    with pytest.raises(RunFolderError, match=r"round-0002\.json: cannot read it"):
        CheckpointFolder(tmp_path).latest("settings")


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"loss": math.nan}, "cannot be written as JSON"),
        ({"history": [{"loss": -math.inf}]}, "cannot be written as JSON"),
        ({"loss": np.float32(1)}, "cannot be written as JSON"),
        ({"history": {1: "a"}}, "change when written"),
        ({"sites": ("a", "b")}, "change when written"),
    ],
)
def test_facts_that_json_would_change_are_refused(
    tmp_path: Path, facts: dict[str, Any], reason: str
) -> None:
    with pytest.raises(RunFolderError, match=reason):
        CheckpointFolder(tmp_path / "new").save(_checkpoint(1, facts=facts))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("dtype", ["float16", ">f4", "int16", "bool", "O"])
def test_another_dtype_is_refused(tmp_path: Path, dtype: str) -> None:
    arrays = {"global": {"w": np.zeros(2, dtype)}}
    with pytest.raises(RunFolderError, match="array w of global is"):
        CheckpointFolder(tmp_path / "new").save(_checkpoint(1, arrays=arrays))
    assert not (tmp_path / "new").exists()


def test_a_disk_that_refuses_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match="round-0001: cannot write the checkpoint"):
        CheckpointFolder(tmp_path / "file").save(_checkpoint(1))


def test_arrays_that_groups_share_are_written_once_and_are_shared_again(tmp_path: Path) -> None:
    weights = {"a": np.arange(1000.0), "b": np.ones(1000)}
    apart = {name: array.copy() for name, array in weights.items()}
    sizes = []
    for folder, groups in [
        ("one", {"global": weights}),
        ("shared", {"global": weights, "best": dict(weights)}),
        ("apart", {"global": weights, "best": apart}),
    ]:
        made = CheckpointFolder(tmp_path / folder)
        made.save(_checkpoint(1, arrays=groups))
        found = _whole(tmp_path / folder)
        for group, arrays in groups.items():
            assert list(found.arrays[group]) == list(arrays)
            for name, array in arrays.items():
                np.testing.assert_array_equal(found.arrays[group][name], array)
        sizes.append(_only(tmp_path / folder, "*.safetensors").stat().st_size)
    assert sizes[0] == sizes[1] < 20_000 < 32_000 < sizes[2]
    # A run that goes on from it, and saves again, writes no more than before.
    found = _whole(tmp_path / "shared")
    assert found.arrays["best"]["a"] is found.arrays["global"]["a"]


def test_nothing_on_disk_is_pickled(tmp_path: Path) -> None:
    CheckpointFolder(tmp_path).save(_checkpoint(1))
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".safetensors"]
    about = json.loads((tmp_path / "round-0001.json").read_text(encoding="utf-8"))
    assert (tmp_path / about["arrays_file"]).is_file()
