"""The supervisor of a folder's programs: ``python -m common.deployment FOLDER``.

A process of its own, so that what looks after the programs holds no more than that.
"""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from common.deployment.supervisor import Supervisor, read_plan
from common.errors import DermafedError


def main(folder: Path) -> int:
    """Look after the programs until told to stop."""
    try:
        supervisor = Supervisor(read_plan(folder), folder, _say)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # Under nohup a terminal's end is nothing to stop for.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, lambda *_: supervisor.stop())
        supervisor.run()
    except DermafedError as error:
        _say(f"dermafed: {error}")
        return 1
    _say("stopped")
    return 0


def _say(line: str) -> None:
    # Where the terminal has gone nobody reads it, and services must be stopped all the same.
    time = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} " if not sys.stderr.isatty() else ""
    with suppress(OSError):
        sys.stderr.write(f"{time}{line}\n")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
