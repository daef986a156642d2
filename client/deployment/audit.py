"""A site's audit trail: one line for each message answered, chained by hashes.

Each line holds the hash of the one before it, so that a line that is changed, taken out or put in
between breaks the chain from there on. Lines taken off the end do not; who wants to know of these,
too, keeps the last line's hash elsewhere from time to time.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from common.errors import AuditError

AUDIT_FILE = "audit.jsonl"
_FIRST = "0" * 64


@dataclass(frozen=True)
class Sent:
    """A statistic that leaves.

    Attributes
    ----------
    name : str
        What it is.
    shape : tuple of int
        Its shape; empty for a single value.
    dtype : str
        NumPy's name, or ``text``.
    bytes : int
        Its size.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    bytes: int


@dataclass(frozen=True)
class Answer:
    """What is written of a message.

    Attributes
    ----------
    run : str
        Flower's number of the run.
    kind : str
        What was asked.
    round : str
        The round, as the coordinator counts.
    learner, backbone, strategy : str
        Of the run.
    minimum_count : int
        Fewest images that any of the numbers is over.
    images : int or None
        How many images what leaves is over; None where nothing leaves. The trail stays at the
        site, so that it tells the very number.
    sent : tuple of Sent
        What leaves; nothing where the message is refused.
    refused : str
        Category of the refusal, with the identifier that the site's log has; else empty.
    imbalance : str
        The run's treatment of imbalance.
    metadata : str
        What the run does with age, sex and localisation.
    """

    run: str
    kind: str
    round: str
    learner: str
    backbone: str
    strategy: str
    minimum_count: int
    images: int | None = None
    sent: tuple[Sent, ...] = ()
    refused: str = ""
    imbalance: str = ""
    metadata: str = ""


class AuditTrail:
    """The trail in a folder; several processes may add to it.

    Parameters
    ----------
    folder : Path
        Where ``audit.jsonl`` is, or will be.

    Raises
    ------
    AuditError
        If what is there is no unbroken chain: nothing is added to one that was touched.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / AUDIT_FILE
        # What of the file is known: its whole lines, in bytes and as numbers.
        self._size, self._last, self.lines = 0, _FIRST, 0
        self._messages: dict[str, int] = {}
        if self.path.exists():
            with _alone(self.path) as file:
                self._catch_up(file)

    def add(self, answer: Answer) -> None:
        """Write a line, and return once the disk has it: before the answer leaves.

        Raises
        ------
        AuditError
            If it cannot be written, or the trail was touched.
        """
        with _alone(self.path) as file:
            self._catch_up(file)
            entry = {
                "line": self.lines + 1,
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                **asdict(answer),
                "before": self._last,
            }
            # As it is read back: tuples are lists there.
            entry = json.loads(json.dumps(entry))
            entry["hash"] = _hash(entry)
            line = _written(entry) + b"\n"
            try:
                _write(file, line)
            except OSError:
                # Its answer does not leave. A part of a line that stays is dropped at the next.
                with suppress(OSError):
                    os.ftruncate(file, self._size)
                raise
            self._take(entry, len(line))

    def messages(self, run: str) -> int:
        """Tell how many messages of a run were answered, refusals not counted."""
        return self._messages.get(run, 0)

    @property
    def runs(self) -> frozenset[str]:
        """The runs of which a message was answered."""
        return frozenset(self._messages)

    def _catch_up(self, file: int) -> None:
        """Read what other processes have added; drop a line whose writing was cut short."""
        size = os.fstat(file).st_size
        if size < self._size:
            raise AuditError(f"{self.path}: lines were taken off its end; nothing is answered")
        with os.fdopen(os.dup(file), "rb") as reader:
            reader.seek(self._size)
            new = reader.read()
        whole = new.rfind(b"\n") + 1
        for line in new[:whole].split(b"\n")[:-1]:
            self._take(_checked(line, self.lines + 1, self._last, self.path), len(line) + 1)
        if whole < len(new):
            os.ftruncate(file, self._size)

    def _take(self, entry: Mapping[str, Any], size: int) -> None:
        self._size, self._last, self.lines = self._size + size, entry["hash"], self.lines + 1
        if not entry["refused"]:
            self._messages[entry["run"]] = self._messages.get(entry["run"], 0) + 1


def read_trail(path: Path) -> Iterator[dict[str, Any]]:
    """Read a trail, checking the chain line by line; a missing file is an empty trail.

    What follows the last line's end is no line: its writing goes on now, or was cut short.

    Raises
    ------
    AuditError
        Naming the line at which it breaks.
    """
    before = _FIRST
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise AuditError(f"{path}: {error.strerror}") from error
    for number, line in enumerate(content.split(b"\n")[:-1], 1):
        entry = _checked(line, number, before, path)
        before = entry["hash"]
        yield entry


def _checked(line: bytes, number: int, before: str, path: Path) -> dict[str, Any]:
    """Read a line that must follow the one whose hash is `before`."""
    try:
        entry: dict[str, Any] = json.loads(line)
        right = entry["line"] == number and entry["before"] == before
        # The very bytes, too: where a name stands twice, a person may believe the first.
        right = right and entry["hash"] == _hash(entry) and line == _written(entry)
        counted = isinstance(entry["run"], str) and isinstance(entry["refused"], str)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise AuditError(f"{path}: line {number} is no line of an audit trail") from error
    if not right or not counted:
        raise AuditError(
            f"{path}: line {number} is not the one that was written after line {number - 1}"
        )
    return entry


@contextmanager
def _alone(path: Path) -> Iterator[int]:
    """Open a trail for this process alone: from its last line's reading to the next one's writing.

    Two that read the same last line would both write what follows it, and the chain would fork.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            # Free again however this process ends.
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        finally:
            os.close(file)
    except OSError as error:
        raise AuditError(f"{path}: {error.strerror}; nothing is answered") from error


def _write(file: int, line: bytes) -> None:
    """Write a line, and return once the disk has it."""
    if os.write(file, line) != len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(file)


def _written(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry).encode()


def _hash(entry: Mapping[str, Any]) -> str:
    told = {name: value for name, value in entry.items() if name != "hash"}
    text = json.dumps(told, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def total_bytes(sent: Sequence[Sent]) -> int:
    """Add up what leaves."""
    return sum(one.bytes for one in sent)
