"""The page's server, as the supervisor starts it: ``python -m server.deployment FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

import uvicorn

from common.deployment.log import log_json_lines
from common.deployment.ports import LOOPBACK
from server.deployment.overview import look
from server.deployment.page import make_page
from server.deployment.settings import read_coordinator_file


def main(folder: Path) -> None:
    """Serve until told to stop."""
    log_json_lines()
    settings = read_coordinator_file(folder)
    app = make_page(lambda: look(folder, settings))
    uvicorn.run(app, host=LOOPBACK, port=settings.page_port, log_config=None, access_log=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
