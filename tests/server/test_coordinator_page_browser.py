"""The coordinator's page in a real browser, while a federation goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from common.errors import DeploymentError
from server.deployment.overview import Overview, SiteView
from server.deployment.runs import RunProgress
from tests.server.coordinator_view import CALM, HOSTILE, SITES, View, make_event, make_run, served


@pytest.fixture
def view() -> View:
    return View()


@pytest.fixture
def address(view: View) -> Iterator[str]:
    with served(view) as found:
        yield found


_ROWS = """
return [...document.querySelectorAll('#' + arguments[0] + ' tr')].map(row =>
  [...row.cells].map(cell => cell.textContent));
"""
_EVENTS = "return [...document.querySelectorAll('#events li')].map(one => one.textContent)"
_HARM = """
return [window.harmed ?? 0, document.querySelectorAll('body img, body svg, body iframe').length,
  document.scripts.length];
"""


def _wait(browser: Any, what: Callable[[], bool]) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 30.0, poll_frequency=0.05).until(lambda _: what())


def _rows(browser: Any, table: str) -> list[list[str]]:
    rows: list[list[str]] = browser.execute_script(_ROWS, table)
    return rows


def test_the_page_shows_sites_rounds_and_events_as_they_change(
    browser: Any, address: str, view: View
) -> None:
    browser.get(address)
    _wait(browser, lambda: len(_rows(browser, "sites")) == 3)
    assert _rows(browser, "sites") == [
        ["dias", "online", "2026-11-21 09:00:00"],
        ["modern", "offline", "2026-11-21 08:00:00"],
        ["vidir", "registered", ""],
    ]
    assert _rows(browser, "runs") == [
        ["first", "ridge", "running", "1", "moments", "1.50 MB", "0.02 MB"]
    ]
    assert browser.execute_script(_EVENTS) == [
        "09:30:07round: round 1, stage moments, bytes_up 1500000, bytes_down 20000",
        "09:30:07start: sites dias modern",
    ]
    first = view.found.runs[0]
    progress = replace(first.progress, rounds=2, stage="gram", finished=True)
    done = replace(first, state="finished", outcome="completed", progress=progress)
    end = make_event("end", test={"pooled": 1}, best_round=None)
    second = make_run("second", strategy="fedavg", progress=replace(progress, events=(end,)))
    sites = (replace(SITES[0], state="offline"), *SITES[1:])
    view.found = replace(CALM, sites=sites, runs=(done, second))
    _wait(browser, lambda: len(_rows(browser, "runs")) == 2)
    assert _rows(browser, "sites")[0][:2] == ["dias", "offline"]
    # The last run first, as its events are.
    assert [row[:5] for row in _rows(browser, "runs")] == [
        ["second", "fedavg", "running", "2", "gram"],
        ["first", "ridge", "completed", "2", "gram"],
    ]
    assert browser.execute_script(_EVENTS) == ["09:30:07end: test {…}, best_round null"]
    assert browser.find_element("id", "federation").text == "three hospitals"
    assert browser.get_log("browser") == []


def test_hostile_text_is_shown_and_not_run(browser: Any, address: str, view: View) -> None:
    event = make_event(HOSTILE, **{HOSTILE: HOSTILE, "list": [HOSTILE]})
    progress = RunProgress(1, HOSTILE, 0, 0, finished=False, events=(event,))
    run = make_run(HOSTILE, learner=HOSTILE, details=HOSTILE, outcome=HOSTILE, progress=progress)
    view.found = Overview(HOSTILE, (SiteView(HOSTILE, 1, HOSTILE, HOSTILE),), (run,))
    browser.get(address)
    _wait(browser, lambda: len(_rows(browser, "sites")) == 1)
    assert _rows(browser, "sites") == [[HOSTILE, HOSTILE, HOSTILE[:19]]]
    assert _rows(browser, "runs")[0][:5] == [HOSTILE, HOSTILE, HOSTILE, "1", HOSTILE]
    told_so = f"09:30:07{HOSTILE}: {HOSTILE} {HOSTILE}, list {HOSTILE}"
    assert browser.execute_script(_EVENTS) == [told_so]
    assert browser.find_element("id", "federation").get_property("textContent") == HOSTILE
    assert browser.execute_script(_HARM) == [0, 0, 1]
    assert browser.get_log("browser") == []


def test_a_problem_is_shown_until_it_is_over(browser: Any, address: str, view: View) -> None:
    view.problem = DeploymentError(f"the coordinator does not answer {HOSTILE}")
    browser.get(address)
    problem = browser.find_element("id", "problem")
    _wait(browser, problem.is_displayed)
    assert problem.get_property("textContent") == str(view.problem)
    assert problem.get_attribute("role") == "alert"
    view.problem = None
    _wait(browser, lambda: not problem.is_displayed())
    assert len(_rows(browser, "sites")) == 3
    assert browser.execute_script(_HARM) == [0, 0, 1]
