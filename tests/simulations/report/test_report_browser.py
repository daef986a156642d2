"""The page in a real browser: on a phone, on a desk and on paper."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PageOf = Callable[[str], str]
STUDIES = ("leave-one-site-out", "learning-curve", "fairness")
WIDTHS = (360, 390, 1280)

_FIGURES = """
return [...document.querySelectorAll('main figure')].map(figure => {
  const box = figure.querySelector('svg').getBoundingClientRect();
  return [figure.closest('details') !== null, box.width, box.height];
});
"""
_SMALLEST_TEXT = """
let smallest = 100;
for (const text of document.querySelectorAll('main > section > section > .figures svg text')) {
  const svg = text.closest('svg');
  const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
  smallest = Math.min(smallest, parseFloat(getComputedStyle(text).fontSize) * scale);
}
return smallest;
"""
_OVER_THE_EDGE = """
return [...document.querySelectorAll('main p, main li, main h2, main h3, main summary, figcaption')]
  .filter(one => one.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
  .map(one => one.textContent.slice(0, 60));
"""
_SHOWN_TABLES = """
return [...document.querySelectorAll('details:not([open]) table')].map(table => [
  table.closest('.appendix') !== null, table.checkVisibility()]);
"""


@pytest.fixture(scope="module")
def saved(page_of: PageOf, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Give the address of a study's page."""
    folder = tmp_path_factory.mktemp("pages")

    def address(study: str) -> str:
        path: Path = folder / f"{study}.html"
        path.write_text(page_of(study), encoding="utf-8")
        return path.as_uri()

    return address


def _open(browser: Any, address: str, width: int) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 800}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    browser.get(address)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("study", STUDIES)
def test_the_page_never_scrolls_sideways(
    study: str, width: int, browser: Any, saved: Callable[[str], str]
) -> None:
    _open(browser, saved(study), width)
    for opened in (False, True):
        if opened:
            browser.execute_script(
                "for (const one of document.querySelectorAll('details')) one.open = true"
            )
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        assert browser.execute_script(_OVER_THE_EDGE) == []


@pytest.mark.parametrize("study", STUDIES)
def test_every_figure_is_there_to_be_seen(
    study: str, browser: Any, saved: Callable[[str], str]
) -> None:
    for width in WIDTHS:
        _open(browser, saved(study), width)
        figures = browser.execute_script(_FIGURES)
        assert sum(not folded for folded, _, _ in figures) >= 5
        for folded, w, h in figures:
            assert folded or (w >= 250 and h >= 40)
        browser.execute_script(
            "for (const one of document.querySelectorAll('details')) one.open = true"
        )
        assert all(w >= 250 and h >= 40 for _, w, h in browser.execute_script(_FIGURES))


def test_text_in_figures_can_be_read_on_a_phone(browser: Any, saved: Callable[[str], str]) -> None:
    _open(browser, saved("leave-one-site-out"), 360)
    assert browser.execute_script(_SMALLEST_TEXT) >= 8.9


@pytest.mark.parametrize("study", STUDIES)
def test_the_browser_asks_for_nothing_and_complains_of_nothing(
    study: str, browser: Any, saved: Callable[[str], str]
) -> None:
    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    address = saved(study)
    _open(browser, address, 1280)
    assert browser.get_log("browser") == []
    asked = [
        event["params"]["request"]["url"]
        for entry in browser.get_log("performance")
        if (event := json.loads(entry["message"])["message"])["method"]
        == "Network.requestWillBeSent"
    ]
    assert [url for url in asked if not url.startswith("data:image/jpeg")] == [address]


def test_the_answer_is_on_a_phones_first_screen(browser: Any, saved: Callable[[str], str]) -> None:
    _open(browser, saved("leave-one-site-out"), 390)
    bottom = "return document.querySelector('.verdict').getBoundingClientRect().bottom"
    assert browser.execute_script(bottom) < 800


def test_headings_are_seen_in_their_order(browser: Any, saved: Callable[[str], str]) -> None:
    _open(browser, saved("leave-one-site-out"), 390)
    found = browser.execute_script(
        "return [...document.querySelectorAll('h1,h2,h3,h4')]"
        ".map(one => [one.tagName, one.getBoundingClientRect().top + scrollY])"
    )
    assert [tag for tag, _ in found][:3] == ["H1", "H2", "H3"]
    tops = [top for _, top in found]
    assert tops == sorted(tops)


def test_paper_has_the_numbers_under_figures_but_not_the_appendix(
    browser: Any, saved: Callable[[str], str]
) -> None:
    _open(browser, saved("leave-one-site-out"), 1280)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    tables = browser.execute_script(_SHOWN_TABLES)
    assert any(appendix for appendix, _ in tables)
    for appendix, shown in tables:
        assert shown != appendix


def test_a_keyboard_reaches_the_answer_first(browser: Any, saved: Callable[[str], str]) -> None:
    from selenium.webdriver.common.keys import Keys

    _open(browser, saved("leave-one-site-out"), 1280)
    browser.switch_to.active_element.send_keys(Keys.TAB)
    first = browser.switch_to.active_element
    assert first.text == "Skip to the answer"
    first.send_keys(Keys.ENTER)
    assert browser.switch_to.active_element.get_attribute("id") == "answer-1"
