"""The worker of a site, as its supervisor starts it: ``python -m client.deployment FOLDER``."""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from client.deployment.audit import AuditTrail
from client.deployment.metrics import serve_metrics
from client.deployment.programs import SECRET
from client.deployment.settings import SiteFile, read_site_file
from client.deployment.worker import Worker
from common.deployment.log import log_json_lines
from common.deployment.ports import LOOPBACK
from common.errors import DermafedError
from common.trust.files import read_private

if TYPE_CHECKING:
    from client.deployment.answering import Answering


def main(folder: Path) -> int:
    """Answer until told to stop."""
    log_json_lines()
    signal.signal(signal.SIGTERM, _stop)
    try:
        site = read_site_file(folder)
        # Before the first message, so that an operator sees it when the site starts.
        AuditTrail(folder)
        count = serve_metrics(site.metrics_port, site.site)
        worker = Worker(
            f"{LOOPBACK}:{site.port}",
            read_private(folder / SECRET),
            lambda: _answering(site, folder),
            count,
        )
        worker.run()
    except DermafedError:
        logging.exception("the worker cannot go on")
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


def _answering(site: SiteFile, folder: Path) -> Answering:
    from client.deployment.answering import Answering

    return Answering(site, folder)


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    code = main(Path(sys.argv[1]))
    logging.shutdown()
    # At once: Flower's threads that wait for content of a run that has ended would be waited for.
    os._exit(code)
