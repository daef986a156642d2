"""What Prometheus may read of a site, on loopback: counts of messages, never of images."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server

from client.deployment.worker import Counted
from common.deployment.ports import LOOPBACK


def serve_metrics(port: int, site: str) -> Callable[[Counted], None]:
    """Serve metrics.

    Parameters
    ----------
    port : int
        On loopback; 0 for no serving.
    site : str
        The site's name, a label.

    Returns
    -------
    callable
        To be called after each message.
    """
    registry = CollectorRegistry()
    labels = ("site", "kind")
    messages = Counter("dermafed_site_messages", "Messages answered", labels, registry=registry)
    refused = Counter("dermafed_site_refused", "Messages refused", labels, registry=registry)
    sent = Counter("dermafed_site_sent_bytes", "Bytes that left", labels, registry=registry)
    seconds = Histogram("dermafed_site_seconds", "Seconds a message", labels, registry=registry)
    if port:
        start_http_server(port, LOOPBACK, registry)

    def count(one: Counted) -> None:
        (refused if one.refused else messages).labels(site, one.kind).inc()
        sent.labels(site, one.kind).inc(one.bytes_up)
        seconds.labels(site, one.kind).observe(one.seconds)

    return count
