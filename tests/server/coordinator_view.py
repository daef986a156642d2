"""A view of a federation, and the coordinator's page as it is served."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socket import create_server
from typing import Any

import uvicorn

from common.deployment.ports import LOOPBACK
from common.errors import DermafedError
from server.deployment.overview import Overview, RunView, SiteView
from server.deployment.page import make_page
from server.deployment.runs import RunProgress

HOSTILE = "<script>window.harmed=1</script><img src=x onerror=window.harmed=1>\"'&\u202e"


def make_event(kind: str, /, **facts: Any) -> dict[str, Any]:
    return {"time": "2026-11-21T09:30:07.125+00:00", "event": kind, **facts}


def make_run(name: str, **changes: Any) -> RunView:
    events = (
        make_event("start", sites=["dias", "modern"]),
        make_event("round", round=1, stage="moments", bytes_up=1_500_000, bytes_down=20_000),
    )
    progress = RunProgress(1, "moments", 1_500_000, 20_000, finished=False, events=events)
    about = {"state": "running", "outcome": "", "details": "", **changes}
    return RunView(
        **{"name": name, "learner": "ridge", "strategy": "", "progress": progress, **about}
    )


SITES = (
    SiteView("dias", 2**64 - 1, "online", "2026-11-21T09:00:00.000000+00:00"),
    SiteView("modern", 3, "offline", "2026-11-21T08:00:00.000000+00:00"),
    SiteView("vidir", 5, "registered", ""),
)
CALM = Overview("three hospitals", SITES, (make_run("first"),))


class View:
    """Gives a view that a test changes while the page is open."""

    def __init__(self, found: Overview = CALM) -> None:
        self.found = found
        self.problem: DermafedError | None = None

    def __call__(self) -> Overview:
        if self.problem is not None:
            raise self.problem
        return self.found


@contextmanager
def served(view: View) -> Iterator[str]:
    """Serve the page as the coordinator does, and give its address."""
    config = uvicorn.Config(
        make_page(view), log_config=None, access_log=False, ws="none", lifespan="off"
    )
    server = uvicorn.Server(config)
    with create_server((LOOPBACK, 0)) as socket:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
        thread.start()
        try:
            yield f"http://{LOOPBACK}:{socket.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()
