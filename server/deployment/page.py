"""A read-only page on loopback: sites, rounds and metrics as they come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from importlib.resources import files
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from common.errors import DermafedError
from server.deployment.metrics import federation_metrics
from server.deployment.overview import Overview

_RUNS = 20
_EVENTS = 200
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
}


def make_page(look: Callable[[], Overview]) -> Starlette:
    """Make the application.

    Parameters
    ----------
    look : callable
        Gives the view; called for each request.
    """
    html = files("server.deployment").joinpath("page.html").read_text(encoding="utf-8")

    def page(_request: Request) -> Response:
        return HTMLResponse(html, headers=_HEADERS)

    def state(_request: Request) -> Response:
        try:
            return JSONResponse(told(look()), headers=_HEADERS)
        except DermafedError as error:
            return JSONResponse({"problem": str(error)}, status_code=503, headers=_HEADERS)

    def metrics(_request: Request) -> Response:
        try:
            return Response(federation_metrics(look), media_type="text/plain; version=0.0.4")
        except DermafedError as error:
            return PlainTextResponse(f"{error}\n", status_code=503)

    return Starlette(
        routes=[
            Route("/", page, methods=["GET"]),
            Route("/state", state, methods=["GET"]),
            Route("/metrics", metrics, methods=["GET"]),
        ],
        # Another site's page, opened in the same browser, must not read this one.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])],
    )


def told(found: Overview) -> dict[str, Any]:
    """Give the view as JSON: the last runs, and of each its last events."""
    runs = []
    for run in found.runs[-_RUNS:]:
        one = asdict(run)
        one["progress"]["events"] = list(one["progress"]["events"])[-_EVENTS:]
        runs.append(one)
    return {
        "federation": found.federation,
        "sites": [{**asdict(site), "node_id": str(site.node_id)} for site in found.sites],
        "runs": runs,
    }
