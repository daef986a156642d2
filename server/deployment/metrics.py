"""What Prometheus reads of a coordinator, made from one view of the federation."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from common.errors import DeploymentError
from server.deployment.overview import Overview, RunView

_FAILURES = ("left_out", "repeat", "failed", "begin_again")


class FederationCollector(Collector):
    """Looks at the federation each time that Prometheus does.

    Parameters
    ----------
    look : callable
        Gives the view.
    """

    def __init__(self, look: Callable[[], Overview]) -> None:
        self._look = look

    def describe(self) -> Iterator[Metric]:
        """Name nothing beforehand, so that registering does not look."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Give the metrics."""
        up = GaugeMetricFamily("dermafed_superlink_up", "Whether Flower's SuperLink answers")
        try:
            found = self._look()
        except DeploymentError:
            up.add_metric([], 0.0)
            yield up
            return
        up.add_metric([], 1.0)
        yield up
        online = GaugeMetricFamily(
            "dermafed_site_online", "Whether the site is online", labels=["site"]
        )
        for site in found.sites:
            online.add_metric([site.site], float(site.state == "online"))
        yield online
        for name, text, value in _RUN_METRICS:
            family = GaugeMetricFamily(name, text, labels=["run", "learner"])
            for run in found.runs:
                family.add_metric([run.name, run.strategy or run.learner], value(run))
            yield family


def federation_metrics(look: Callable[[], Overview]) -> bytes:
    """Write the metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(FederationCollector(look))
    return generate_latest(registry)


def failures(run: RunView) -> int:
    """Count the events of a run at which something went wrong."""
    return sum(event["event"] in _FAILURES for event in run.progress.events)


_RUN_METRICS: tuple[tuple[str, str, Callable[[RunView], float]], ...] = (
    ("dermafed_run_rounds", "Rounds done", lambda run: run.progress.rounds),
    ("dermafed_run_up_bytes", "Bytes from sites", lambda run: run.progress.bytes_up),
    ("dermafed_run_down_bytes", "Bytes to sites", lambda run: run.progress.bytes_down),
    ("dermafed_run_failures", "Events at which something went wrong", failures),
    ("dermafed_run_finished", "Whether it is complete", lambda run: run.outcome == "completed"),
)
