"""What happens in a run, one JSON object a line, while it happens."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Protocol, Self

from common.errors import OutputError, RunFolderError

EVENTS_FILE = "events.jsonl"
_OWN = ("time", "event")


class Sink(Protocol):
    """What else is told of each event, such as TensorBoard.

    `event` and `close` raise OutputError where the event cannot be taken.
    """

    def event(self, kind: str, facts: Mapping[str, Any], /) -> None:
        """Take an event."""

    def close(self) -> None:
        """Finish; nothing follows."""


class EventLog:
    """Appends events to a file and tells them to sinks.

    A last line that a kill left torn is removed, and an event ``log_repaired`` says so. A sink
    that fails is told nothing more, and an event ``sink_lost`` says so: a run of hours does not
    end because a tracking server does.

    Parameters
    ----------
    path : Path
        The file; made with its folder where there is none, else appended to.
    sinks : sequence of Sink
        Told of each event after the file has it.

    Raises
    ------
    OutputError
        If the file cannot be opened.
    """

    def __init__(self, path: Path, sinks: Sequence[Sink] = ()) -> None:
        self._path, self._sinks = path, list(sinks)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            removed = _repair(path)
            self._stream = path.open("ab")
        except OSError as error:
            raise OutputError(f"{path}: cannot write events: {error.strerror or error}") from error
        if removed:
            self.emit("log_repaired", bytes_removed=removed)

    def emit(self, kind: str, /, **facts: object) -> None:
        """Append an event; the line is with the operating system when this returns.

        Parameters
        ----------
        kind : str
            What happened, such as ``"round"``.
        **facts : object
            What JSON holds; any name but ``time`` and ``event``.

        Raises
        ------
        OutputError
            If a fact is no JSON, such as NaN, or the disk does not take the line. A refused
            event is neither written nor told.
        """
        for name, fact in facts.items():
            self._check(kind, name, fact)
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        # ASCII: a line then ends at a newline only, and any name can be written.
        line = json.dumps({"time": now, "event": kind, **facts}, allow_nan=False)
        try:
            self._stream.write(line.encode() + b"\n")
            self._stream.flush()
        except OSError as error:
            raise OutputError(f"{self._path}: cannot write events: {error.strerror}") from error
        lost: list[tuple[Sink, OutputError]] = []
        for sink in self._sinks:
            try:
                sink.event(kind, facts)
            except OutputError as error:
                lost.append((sink, error))
        self._sinks = [sink for sink in self._sinks if all(sink is not each for each, _ in lost)]
        for sink, failure in lost:
            self._lost(sink, failure)

    def noting(self, report: Callable[[str], None]) -> Callable[[str], None]:
        """Make lines for the operator events, too."""

        def told(line: str) -> None:
            report(line)
            self.emit("note", text=line)

        return told

    def close(self) -> None:
        """Close the sinks and the file."""
        sinks, self._sinks = self._sinks, []
        try:
            for sink in sinks:
                try:
                    sink.close()
                except OutputError as error:
                    self._lost(sink, error)
        finally:
            self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close; an exception is first told as an event ``failed``."""
        try:
            if error is not None:
                self.emit("failed", error=type(error).__name__, message=str(error))
        finally:
            self.close()

    def _lost(self, sink: Sink, error: OutputError) -> None:
        self.emit("sink_lost", sink=type(sink).__name__, reason=str(error))

    def _check(self, kind: str, name: str, fact: object) -> None:
        if name in _OWN:
            raise OutputError(
                f"{self._path}: event {kind}: a fact may not be named {name}; give another name"
            )
        try:
            json.dumps(fact, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise OutputError(
                f"{self._path}: event {kind}: {name} cannot be written as JSON: {error}; "
                "give None for a missing number"
            ) from error


def read_events(path: Path) -> list[dict[str, Any]]:
    """Read a log of events, also of a run that is under way.

    Returns
    -------
    list of dict
        Each has ``time`` (ISO 8601, UTC), ``event`` and the event's facts. A last line that is
        not whole yet is left out.

    Raises
    ------
    RunFolderError
        If the file cannot be read or another line is damaged.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunFolderError(f"{path}: cannot read events: {error.strerror}") from error
    *lines, last = content.split(b"\n")
    events = []
    for number, line in enumerate(lines, start=1):
        event = _parse(line)
        if event is None:
            raise RunFolderError(f"{path}: line {number} is no event; remove the line")
        events.append(event)
    unended = _parse(last)
    return events if unended is None else [*events, unended]


def _repair(path: Path) -> int:
    """Let a log end with a whole line; give the number of bytes that were removed for it."""
    if not path.exists():
        return 0
    content = path.read_bytes()
    last = content.rpartition(b"\n")[2]
    if not last:
        return 0
    with path.open("r+b") as stream:
        if _parse(last) is not None:
            stream.seek(0, 2)
            stream.write(b"\n")
            return 0
        stream.truncate(len(content) - len(last))
    return len(last)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        event = json.loads(line, parse_constant=_refuse_constant)
    except ValueError:
        return None
    return event if isinstance(event, dict) and event.keys() >= set(_OWN) else None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
