"""The supervisor of a folder's programs: ``python -m common.deployment FOLDER``.

A process of its own, so that what looks after the programs holds no more than that.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import NoReturn

from common.deployment.supervisor import Supervisor, read_plan
from common.errors import DermafedError


def main(folder: Path) -> int:
    """Look after the programs until told to stop."""
    signal.signal(signal.SIGTERM, _stop)
    try:
        Supervisor(read_plan(folder), folder, _say).run()
    except DermafedError as error:
        _say(f"dermafed: {error}")
        return 1
    except KeyboardInterrupt:
        _say("stopped")
    return 0


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    # A second signal must not break off what the first one has begun.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
