"""What a federation by sums keeps while it runs, so that a coordinator that dies goes on.

After each round the learner's state is written whole (see `server.checkpoint`); each round,
and each going on, is an event (see `server.events`).
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from common.learners.base import State
from common.settings import RunSettings
from common.site_info import SiteInfo
from server.checkpoint import Checkpoint, CheckpointFolder
from server.events import EVENTS_FILE, EventLog
from server.link import Traffic
from server.result import UNTOLD

_TOKEN_BYTES = 16
# What may differ when a run goes on: it changes no number.
_FREE = {*UNTOLD, "deadline", "window", "retries", "registry"}
_GROUPS = ("arrays", "memory")
_EACH_SUM = "a ledger needs every site's sums of every round"


class Journal:
    """The journal of one run, in the folder of the unfinished run.

    Parameters
    ----------
    folder : Path
        Where checkpoints and events are.
    identity : str
        Digest of the run's settings.

    Raises
    ------
    RunFolderError
        If the folder is that of a run with other settings.
    OutputError
        If it cannot be written.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        self._folder, self._identity = CheckpointFolder(folder), identity
        self._found, self.notes = self._folder.latest(identity)
        self._run = secrets.token_hex(_TOKEN_BYTES) if self._found is None else self._found.run
        self.events = EventLog(folder / EVENTS_FILE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.events.__exit__(kind, error, trace)

    def saved(
        self, sites: Mapping[int, SiteInfo], traffic: Traffic, *, each_sum: bool = False
    ) -> State | None:
        """Give the state to go on from.

        Parameters
        ----------
        sites : mapping of int to SiteInfo
            Those that have joined now. Sums of other sites, or of sites that have changed, do not
            mix with theirs: then there is no such state.
        traffic : Traffic
            Set to what went over the wire before.
        each_sum : bool
            Whether the run needs every site's own sums of every round, which no state holds.

        Returns
        -------
        State or None
            None where the run begins.
        """
        found = self._found
        changed = found is not None and found.facts["sites"] != _told(sites)
        begins_again = changed or (found is not None and each_sum)
        if begins_again:
            # Another attempt: nothing that bears the token of the one before is of this one.
            self._run = secrets.token_hex(_TOKEN_BYTES)
        self.events.emit("start", run=self._run, sites=[info.site for info in sites.values()])
        if begins_again:
            reason = "the sites are not those of the checkpoint" if changed else _EACH_SUM
            self.events.emit("begin_again", reason=reason)
        if found is None or begins_again:
            return None
        before = found.facts["traffic"]
        traffic.rounds, traffic.stages = before["rounds"], dict(before["stages"])
        traffic.bytes_down += before["bytes_down"]
        traffic.bytes_up += before["bytes_up"]
        self.events.emit("resume", rounds_done=traffic.rounds)
        groups = {name: found.arrays.get(name, {}) for name in _GROUPS}
        return State(
            found.facts["stage"],
            groups["arrays"],
            found.facts["done"],
            groups["memory"],
            turn=found.facts["turn"],
        )

    def keep(
        self, stage: str, state: State, sites: Mapping[int, SiteInfo], traffic: Traffic
    ) -> None:
        """Write the state after a round."""
        arrays = {"arrays": dict(state.arrays), "memory": dict(state.memory)}
        facts = {
            "stage": state.stage,
            "done": state.done,
            "turn": state.turn,
            "sites": _told(sites),
            "traffic": asdict(traffic),
        }
        self._folder.save(Checkpoint(self._identity, self._run, traffic.rounds, arrays, facts))
        self.events.emit(
            "round",
            round=traffic.rounds,
            stage=stage,
            sites=[info.site for info in sites.values()],
            bytes_up=traffic.bytes_up,
            bytes_down=traffic.bytes_down,
        )

    def lose(self, stage: str, left_out: Mapping[str, str], traffic: Traffic) -> None:
        """Tell which sites a round has left out, and why."""
        self.events.emit("left_out", round=traffic.rounds, kind=stage, sites=dict(left_out))


def identity_of(settings: RunSettings) -> str:
    """Give the digest of all settings that a number of the run depends on."""
    text = json.dumps(settings.model_dump(exclude=_FREE), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _told(sites: Mapping[int, SiteInfo]) -> list[dict[str, object]]:
    """Describe the sites as JSON gives them back; a site's node may be another one now."""
    return [
        {name: list(value) if isinstance(value, tuple) else value for name, value in told.items()}
        for told in (asdict(info) for info in sites.values())
    ]
