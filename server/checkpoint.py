"""A run's state on disk, so that a coordinator that dies resumes where it was; no pickle.

A checkpoint is ``round-0007.json`` and the arrays' file that it names,
``round-0007-1f3c9a0b.safetensors``. The JSON is written last, and it carries the arrays' SHA-256:
whatever write a kill interrupts, the checkpoint before it is still whole. The digest in the
arrays' name lets a round be saved again without touching the arrays of its first saving. An array
that stands in several groups, such as weights that are the best ones, too, is written once.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from safetensors.numpy import load, save

from common.errors import OutputError, RunFolderError

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT = 2
KEPT = 2
_DTYPES = ("float32", "float64", "int32", "int64")
_PARTIAL = ".partial"
_DESCRIPTION = re.compile(r"round-[0-9]{4,}\.json")
_ANY_FILE = re.compile(r"round-[0-9]{4,}(\.json|-[0-9a-f]{8}\.safetensors)")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The state of a run after a round.

    Attributes
    ----------
    identity : str
        Digest of the run's settings; a run with other settings must not resume from it.
    run : str
        Random token of the run, hexadecimal.
    round : int
        Rounds done.
    arrays : dict of str to dict of str to ndarray
        Arrays by name, by group, such as ``"global"`` or ``"strategy:m"``; the order of the
        names within a group is kept. Of `_DTYPES`, any shape. Groups may share
        arrays, and do again when they are read.
    facts : dict of str to Any
        What JSON holds without change: text keys, lists, finite numbers.
    """

    identity: str
    run: str
    round: int
    arrays: dict[str, dict[str, NDArray[Any]]]
    facts: dict[str, Any]


class CheckpointFolder:
    """The folder with a run's latest two checkpoints; one process writes it at a time.

    Parameters
    ----------
    path : Path
        The folder; the first saving makes it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, then remove all but it and the one before.

        Checkpoints of later rounds are removed too: this run went on from before them.

        Raises
        ------
        RunFolderError
            If the state holds what a checkpoint cannot give back: another dtype, or facts that
            JSON changes or refuses, such as NaN. Nothing is written then.
        OutputError
            If the disk does not take it.
        """
        name = f"round-{checkpoint.round:04d}"
        arrays = _encode_arrays(checkpoint, self._path / name)
        digest = hashlib.sha256(arrays).hexdigest()
        arrays_file = f"{name}-{digest[:8]}.safetensors"
        description = _describe(checkpoint, self._path / name, arrays_file, digest)
        try:
            self._path.mkdir(parents=True, exist_ok=True)
            self._write(arrays_file, arrays)
            self._write(f"{name}.json", description)
            self._remove_others(checkpoint.round, arrays_file)
        except OSError as error:
            reason = error.strerror or error
            raise OutputError(
                f"{self._path / name}: cannot write the checkpoint: {reason}"
            ) from error

    def latest(self, identity: str) -> tuple[Checkpoint | None, tuple[str, ...]]:
        """Read the newest whole checkpoint.

        Parameters
        ----------
        identity : str
            Digest of the settings of the run that asks.

        Returns
        -------
        checkpoint : Checkpoint or None
            None where there is no whole one.
        notes : tuple of str
            One line for each newer checkpoint that is damaged and was passed over.

        Raises
        ------
        RunFolderError
            If it is of a run with other settings or of another version's format, or if a file
            is there and cannot be read.
        """
        notes: list[str] = []
        for path in reversed(self._descriptions()):
            try:
                description = _read_description(path)
                if description["format"] != FORMAT:
                    raise RunFolderError(
                        f"{path}: another version of dermafed wrote it; resume with that version"
                    )
                if description["identity"] != identity:
                    raise RunFolderError(
                        f"{self._path}: holds checkpoints of a run with other settings; resume "
                        "with the settings of that run, or choose another folder"
                    )
                arrays = _decode_arrays(self._path, description)
            except _DamagedError as error:
                notes.append(f"{path}: damaged: {error}; passed over for the checkpoint before it")
            except OSError as error:
                raise RunFolderError(f"{path}: cannot read it: {error.strerror}") from error
            else:
                names = ("identity", "run", "round", "facts")
                about = {name: description[name] for name in names}
                return Checkpoint(arrays=arrays, **about), tuple(notes)
        return None, tuple(notes)

    def _descriptions(self) -> list[Path]:
        """List the checkpoints' descriptions, oldest first."""
        if not self._path.is_dir():
            return []
        found = [path for path in self._path.iterdir() if _DESCRIPTION.fullmatch(path.name)]
        return sorted(found, key=_round_of)

    def _write(self, name: str, content: bytes) -> None:
        partial = self._path / f"{name}{_PARTIAL}"
        try:
            with partial.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(self._path / name)
        except OSError:
            partial.unlink(missing_ok=True)
            raise
        # A new name is on disk only once its folder is; Windows cannot open a folder for that.
        if os.name != "nt":
            folder = os.open(self._path, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    def _remove_others(self, newest: int, arrays_file: str) -> None:
        rounds = [_round_of(path) for path in self._descriptions()]
        kept = [number for number in rounds if number <= newest][-KEPT:]
        # Descriptions go first: arrays alone are no checkpoint, a description alone is damaged.
        for path in sorted(self._path.iterdir(), key=lambda path: path.suffix != ".json"):
            if path.name.startswith("round-") and path.suffix == _PARTIAL:
                path.unlink(missing_ok=True)
            elif _ANY_FILE.fullmatch(path.name):
                number = _round_of(path)
                stale = path.suffix != ".json" and number == newest and path.name != arrays_file
                if number not in kept or stale:
                    path.unlink(missing_ok=True)


class _DamagedError(Exception):
    """A checkpoint that a kill, a disk or a hand left incomplete."""


def _round_of(path: Path) -> int:
    return int(path.name.split("-")[1].partition(".")[0])


def _encode_arrays(checkpoint: Checkpoint, path: Path) -> bytes:
    flat: dict[str, NDArray[Any]] = {}
    keys = _keys(checkpoint)
    for group, arrays in checkpoint.arrays.items():
        for name, array in arrays.items():
            if array.dtype not in [np.dtype(dtype) for dtype in _DTYPES]:
                raise RunFolderError(
                    f"{path}: array {name} of {group} is {array.dtype}; a checkpoint holds "
                    f"{', '.join(_DTYPES)}"
                )
            # safetensors writes an array's memory as it lies, whatever its strides.
            flat[keys[group][name]] = np.asarray(array, order="C")
    return save(flat)


def _decode_arrays(folder: Path, description: dict[str, Any]) -> dict[str, dict[str, NDArray[Any]]]:
    path = folder / description["arrays_file"]
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise _DamagedError(f"{path.name} is missing") from None
    if hashlib.sha256(content).hexdigest() != description["sha256"]:
        raise _DamagedError(f"{path.name} is not what was written")
    flat = load(content)
    return {
        group: {name: flat[key] for name, key in keys.items()}
        for group, keys in description["arrays"].items()
    }


def _keys(checkpoint: Checkpoint) -> dict[str, dict[str, str]]:
    """Give the key of each group's names in the arrays' file: that of the array's first place."""
    first: dict[int, str] = {}
    return {
        group: {
            name: first.setdefault(id(array), _key(group, name)) for name, array in arrays.items()
        }
        for group, arrays in checkpoint.arrays.items()
    }


def _key(group: str, name: str) -> str:
    """Join two names so that no other pair joins to the same, whatever they hold."""
    return json.dumps([group, name])


def _describe(checkpoint: Checkpoint, path: Path, arrays_file: str, digest: str) -> bytes:
    description = {
        "format": FORMAT,
        "identity": checkpoint.identity,
        "run": checkpoint.run,
        "round": checkpoint.round,
        "facts": checkpoint.facts,
        "arrays": _keys(checkpoint),
        "arrays_file": arrays_file,
        "sha256": digest,
    }
    try:
        sealed = {**description, "seal": _seal(description)}
        text = json.dumps(sealed, indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RunFolderError(
            f"{path}: facts cannot be written as JSON: {error}; give None for a missing number"
        ) from error
    if json.loads(text) != sealed:
        raise RunFolderError(
            f"{path}: facts change when written as JSON; give text keys and lists, no tuples"
        )
    return text.encode() + b"\n"


def _seal(description: dict[str, Any]) -> str:
    text = json.dumps(description, sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _read_description(path: Path) -> dict[str, Any]:
    try:
        description = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except ValueError as error:
        raise _DamagedError(f"it is not whole JSON ({error})") from error
    if not isinstance(description, dict) or "seal" not in description:
        raise _DamagedError("it does not describe a checkpoint")
    seal = description.pop("seal")
    if seal != _seal(description) or f"round-{description['round']:04d}" != path.stem:
        raise _DamagedError("it is not what was written")
    return description


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
