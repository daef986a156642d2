"""The coordinator's page and metrics: what they show, and what they let nobody do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from common.errors import DeploymentError, DermafedError, SettingsError
from common.settings import RunSettings
from server.deployment import runs
from server.deployment.control import NodeSeen, RunSeen, Seen
from server.deployment.overview import Overview, SiteView, overview
from server.deployment.page import told
from server.deployment.registry import Member, write_registry
from server.deployment.runs import RunProgress, submit
from server.deployment.settings import CoordinatorFile
from server.events import EventLog
from tests.server.coordinator_view import CALM, HOSTILE, View, make_event, make_run, served


@pytest.fixture(scope="module")
def page() -> Iterator[tuple[View, httpx.Client]]:
    view = View()
    with served(view) as address, httpx.Client(base_url=address) as client:
        yield view, client


@pytest.fixture
def view(page: tuple[View, httpx.Client]) -> View:
    page[0].found, page[0].problem = CALM, None
    return page[0]


@pytest.fixture
def client(view: View, page: tuple[View, httpx.Client]) -> httpx.Client:
    return page[1]


def test_the_page_is_markup_that_loads_nothing_from_elsewhere(client: httpx.Client) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "http" not in policy
    assert "//" not in answer.text.replace("// Everything", "")


def test_the_state_is_the_view(client: httpx.Client) -> None:
    state = client.get("/state").json()
    assert state["federation"] == "three hospitals"
    # As text: a browser's numbers end at 2^53.
    assert [(one["site"], one["node_id"], one["state"]) for one in state["sites"]] == [
        ("dias", "18446744073709551615", "online"),
        ("modern", "3", "offline"),
        ("vidir", "5", "registered"),
    ]
    (run,) = state["runs"]
    assert (run["name"], run["progress"]["rounds"], run["progress"]["stage"]) == (
        *("first", 1, "moments"),
    )
    assert [event["event"] for event in run["progress"]["events"]] == ["start", "round"]


def test_only_the_last_runs_and_their_last_events_are_told() -> None:
    progress = RunProgress(
        9,
        "newton",
        0,
        0,
        finished=False,
        events=tuple(make_event("round", round=n) for n in range(999)),
    )
    many = tuple(make_run(f"run-{number}", progress=progress) for number in range(50))
    found = told(Overview("f", (), many))["runs"]
    assert [run["name"] for run in found] == [f"run-{number}" for number in range(30, 50)]
    assert [event["round"] for event in found[-1]["progress"]["events"]] == list(range(799, 999))


@pytest.mark.parametrize("path", ["/", "/state", "/metrics"])
@pytest.mark.parametrize(
    "host", ["evil.example.org", "127.0.0.1.evil.example.org", "10.0.0.7:8445", ""]
)
def test_a_page_of_another_name_cannot_read_this_one(
    client: httpx.Client, path: str, host: str
) -> None:
    answer = client.get(path, headers={"Host": host})
    assert answer.status_code == 400
    assert "dias" not in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8445", "localhost:8445"])
def test_this_machine_reads_it_by_either_name(client: httpx.Client, host: str) -> None:
    assert client.get("/state", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/state", "/metrics"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_can_be_changed(client: httpx.Client, path: str, method: str) -> None:
    assert client.request(method, path).status_code == 405


@pytest.mark.parametrize(
    "path", ["/docs", "/openapi.json", "/state/", "/page.html", "/static/page.html"]
)
def test_there_is_nothing_else(client: httpx.Client, path: str) -> None:
    assert client.get(path, follow_redirects=False).status_code in {307, 404}


@pytest.mark.parametrize("error", [DeploymentError, SettingsError])
def test_a_problem_is_told_in_words(
    client: httpx.Client, view: View, error: type[DermafedError]
) -> None:
    view.problem = error("the coordinator does not answer on 127.0.0.1:8444")
    answer = client.get("/state")
    assert answer.status_code == 503
    assert answer.json() == {"problem": "the coordinator does not answer on 127.0.0.1:8444"}
    assert client.get("/").status_code == 200


def _metrics(client: httpx.Client) -> dict[str, dict[tuple[str, ...], float]]:
    """Read them as Prometheus does: by name, by the values of their labels in the names' order."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        assert family.documentation
        assert family.type == "gauge"
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found


def test_metrics_have_the_values_of_the_view(client: httpx.Client, view: View) -> None:
    events = (
        make_event("start", sites=[]),
        make_event("left_out", round=1, kind="gram", sites={"modern": "no reply within 600 s"}),
        make_event("round", round=1, stage="gram", bytes_up=7, bytes_down=8),
        make_event("failed", error="RoundError", message="2 of 3 sites count"),
        make_event("begin_again", reason="the sites are not those of the checkpoint"),
        make_event("resume", rounds_done=1),
    )
    told_all = RunProgress(4, "gram", 7, 8, finished=True, events=events)
    done = make_run("second", strategy="fedavg", outcome="completed", progress=told_all)
    view.found = replace(CALM, runs=(make_run("first"), done))
    # Learner, run.
    first, second = ("ridge", "first"), ("fedavg", "second")
    assert _metrics(client) == {
        "dermafed_superlink_up": {(): 1.0},
        "dermafed_site_online": {("dias",): 1.0, ("modern",): 0.0, ("vidir",): 0.0},
        "dermafed_run_rounds": {first: 1.0, second: 4.0},
        "dermafed_run_up_bytes": {first: 1_500_000.0, second: 7.0},
        "dermafed_run_down_bytes": {first: 20_000.0, second: 8.0},
        "dermafed_run_failures": {first: 0.0, second: 3.0},
        "dermafed_run_finished": {first: 0.0, second: 1.0},
    }


def test_metrics_of_a_superlink_that_is_down_say_so(client: httpx.Client, view: View) -> None:
    view.problem = DeploymentError("no answer")
    assert _metrics(client) == {"dermafed_superlink_up": {(): 0.0}}


def test_metrics_that_cannot_be_made_are_not_taken_for_a_superlink_that_is_down(
    client: httpx.Client, view: View
) -> None:
    view.problem = SettingsError("run settings: qourum")
    answer = client.get("/metrics")
    assert (answer.status_code, answer.text) == (503, "run settings: qourum\n")


def test_hostile_names_neither_end_a_label_nor_make_another_metric(
    client: httpx.Client, view: View
) -> None:
    name = f'a"}} 1\ndermafed_superlink_up 0\n\\{HOSTILE}'
    view.found = Overview("f", (SiteView(name, 1, "online", ""),), (make_run(name),))
    found = _metrics(client)
    assert found["dermafed_superlink_up"] == {(): 1.0}
    assert found["dermafed_site_online"] == {(name,): 1.0}
    assert found["dermafed_run_rounds"] == {("ridge", name): 1.0}


def test_a_view_puts_together_who_is_invited_who_is_there_and_what_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = iter(("101", "102"))
    monkeypatch.setattr(runs, "flwr", lambda *_: {"run-id": next(numbers)})
    settings = RunSettings(out=str(tmp_path / "runs" / "first"))
    submit(tmp_path, "first", settings)
    members = [Member(site=name, node_id=n, key="") for n, name in ((2, "modern"), (1, "dias"))]
    write_registry(tmp_path / "sites.json", (*members, Member(site="vidir", node_id=9, key="")))
    submit(tmp_path, "second", RunSettings(strategy="fedavg", out=str(tmp_path / "second")))
    with EventLog(settings.unfinished / "events.jsonl") as log:
        log.emit("round", round=3, stage="newton", bytes_up=7, bytes_down=8)
    nodes = {1: NodeSeen("online", "2026-11-21"), 2: NodeSeen("offline", "2026-11-20")}
    # A node that is not invited is nobody's business here.
    nodes[66] = NodeSeen("online", "2026-11-21")
    found = overview(
        tmp_path,
        CoordinatorFile(host="a"),
        Seen(nodes, {"101": RunSeen("finished", "failed", "why")}),
    )
    assert [(site.site, site.state) for site in found.sites] == [
        ("dias", "online"),
        ("modern", "offline"),
        ("vidir", "unknown"),
    ]
    first, second = found.runs
    assert (first.name, first.outcome, first.details) == ("first", "failed", "why")
    assert (first.progress.rounds, first.progress.stage) == (3, "newton")
    assert (second.name, second.strategy, second.state) == ("second", "fedavg", "unknown")
