"""``dermafed site`` run in this process, on a folder of its own."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from client.deployment.audit import Answer, AuditTrail, Sent
from common import cli
from common.deployment.invitation import Invitation, write_invitation
from common.trust import new_authority
from common.wire.bundle import code_hash

Shown = tuple[int, str, str]

AUTHORITY = new_authority("north").certificate.decode()


class SiteCommands:
    """Runs commands on one site's folder.

    Parameters
    ----------
    folder : Path
        Of the site; ``init`` makes it.
    monkeypatch, capsys
        pytest's.
    """

    def __init__(
        self,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setattr(signal, "signal", lambda *_: None)
        self.folder, self._capsys = folder, capsys

    def __call__(self, command: str, *arguments: object) -> Shown:
        """Give the exit code, what was shown, and the errors."""
        with pytest.raises(SystemExit) as caught:
            cli.main(["site", command, *map(str, arguments), "--folder", str(self.folder)])
        assert isinstance(caught.value.code, int)
        shown = self._capsys.readouterr()
        return caught.value.code, shown.out, shown.err

    def refuse(self, command: str, *arguments: object) -> str:
        """Run what must be refused in one line; gives the line."""
        code, shown, errors = self(command, *arguments)
        assert (code, shown) == (1, "")
        assert errors.startswith("dermafed: ")
        assert errors.count("\n") == 1
        return errors

    def init(self, cohort: Path, site: str = "dias") -> Shown:
        """Make the site."""
        return self("init", "--site", site, "--cohort", cohort)

    def invite(self, **changes: str) -> Path:
        """Write what a coordinator hands to the site."""
        path = self.folder.parent / "the.invitation.toml"
        values = {
            "federation": "north",
            "site": "dias",
            "key": (self.folder / "site.pub").read_text(encoding="utf-8"),
            "address": "coordinator.example:9092",
            "authority": AUTHORITY,
            "bundle": "b" * 64,
            "code": code_hash(),
            "version": "9.9",
        }
        write_invitation(path, Invitation(**{**values, **changes}))
        return path

    def add_line(self, **changes: Any) -> None:
        """Write a line of the site's trail."""
        sent = (Sent("gram", (7, 8), "float64", 1576), Sent("count", (), "text", 2))
        values = {"run": "8", "kind": "train.contribute", "round": "2", "learner": "ridge"}
        rest = {"backbone": "tiny", "strategy": "", "minimum_count": 5, "sent": sent}
        AuditTrail(self.folder).add(Answer(**{**values, **rest, **changes}))
