"""The page: one file, no network, everything from data escaped, in order for every reader."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from simulations.report.loading import Run
from simulations.report.page import make_page, render
from simulations.skin_tone import CONFOUNDED
from tests.simulations.report.report_run import SITES
from tests.simulations.report.shown_numbers import shown_numbers

PageOf = Callable[[str], str]
LoadedRun = Callable[..., Run]
EVERY = (
    *("leave-one-site-out", "cross-site", "heterogeneity", "learning-curve", "fairness"),
    "compare",
)
LOADS = {"src", "srcset", "poster", "data", "action", "formaction", "background", "manifest"}


class Elements(HTMLParser):
    """All start tags with attributes, and the text of each heading, summary and caption."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def of(self, *tags: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.found if tag in tags]


@pytest.mark.parametrize("study", EVERY)
def test_a_page_loads_nothing_and_runs_nothing(study: str, page_of: PageOf) -> None:
    elements = Elements(page_of(study))
    tags = {tag for tag, _ in elements.found}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in elements.found:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in LOADS & attributes.keys():
            assert attributes[name].startswith("data:image/jpeg;base64,"), (tag, name)
        address = attributes.get("href", "#")
        assert address.startswith("#"), (tag, address)
        assert "url(" not in attributes.get("style", "").replace("url(#", "")
    page = page_of(study)
    assert not re.search(r"https?://|@import|//cdn", page)
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style


def test_the_page_forbids_what_it_does_not_need(page_of: PageOf) -> None:
    elements = Elements(page_of("leave-one-site-out"))
    policies = [
        one["content"]
        for one in elements.of("meta")
        if one.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


@pytest.mark.parametrize("study", EVERY)
def test_names_from_data_are_text_never_markup(study: str, page_of: PageOf) -> None:
    page = page_of(study)
    assert SITES[1] == "<script>alert(1)</script>"
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    # The question, a note and a localisation hold markup of their own.
    assert "<i>" not in page
    assert "<b>left out" not in page
    assert "<b>toe" not in page
    text = "".join(Elements(page).text)
    assert SITES[1] in text
    assert SITES[2] in text


@pytest.mark.parametrize("study", EVERY)
def test_headings_descend_by_one_and_names_are_unique(study: str, page_of: PageOf) -> None:
    elements = Elements(page_of(study))
    levels = [int(tag[1]) for tag, _ in elements.found if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))
    names = Counter(attributes["id"] for _, attributes in elements.found if "id" in attributes)
    assert [name for name, n in names.items() if n > 1] == []
    targets = [attributes["href"][1:] for attributes in elements.of("a", "use")]
    assert set(targets) <= set(names)
    for attributes in elements.of("g", "path"):
        for reference in re.findall(r"url\(#([^)]+)\)", attributes.get("clip-path", "")):
            assert reference in names


@pytest.mark.parametrize("study", EVERY)
def test_every_figure_and_table_tells_those_who_cannot_see_it(study: str, page_of: PageOf) -> None:
    elements = Elements(page_of(study))
    figures = elements.of("svg")
    assert len(figures) >= 5
    assert all(one["role"] == "img" and one["aria-label"] for one in figures)
    labels = Counter(one["aria-label"] for one in figures)
    assert max(labels.values()) == 1
    tags = Counter(tag for tag, _ in elements.found)
    assert tags["figure"] == tags["figcaption"] == len(figures)
    assert tags["caption"] == tags["table"]
    assert all(one.get("scope") in ("col", "row") for one in elements.of("th"))
    assert all(one["alt"] for one in elements.of("img"))
    assert elements.of("html")[0]["lang"] == "en"


def test_the_answer_comes_first(page_of: PageOf) -> None:
    page = page_of("leave-one-site-out")
    body = page[page.index("<body>") :]
    assert body.index('class="skip"') < body.index('class="verdict"') < body.index("<svg")
    assert body.index("Tested at a centre that it never saw") < body.index("<svg")


def test_skin_tone_never_stands_without_its_confound(page_of: PageOf) -> None:
    page = page_of("fairness")
    said = CONFOUNDED.replace("'", "&#39;")
    blocks = re.findall(r"<figure.*?</figure>|<details.*?</details>", page, re.DOTALL)
    about = [block for block in blocks if 'data-by="skin_tone"' in block]
    assert len(about) >= 4
    assert all(said in block for block in about)
    answer = page[page.index('class="answer"') : page.index('aria-label="Sections"')]
    for paragraph in re.findall(r"<p.*?</p>", answer, re.DOTALL):
        assert 'data-by="skin_tone"' not in paragraph or said in paragraph
    comparisons = page[page.index("<summary>Comparisons: ") :]
    for table in re.findall(r"<table>.*?</table>", comparisons, re.DOTALL):
        assert 'data-by="skin_tone"' not in table or said in table


def test_the_same_run_gives_the_same_bytes(loaded: LoadedRun) -> None:
    run = loaded("simulate")
    assert render(make_page([run])) == render(make_page([run]))


def test_all_runs_have_a_section_of_one_page(loaded: LoadedRun) -> None:
    page = render(make_page([loaded("leave-one-site-out"), loaded("simulate")]))
    assert '<section id="run-1"' in page
    assert '<section id="run-2"' in page
    assert '<a href="#run-2">simulate: HAM10000, simulate</a>' in page
    assert len(shown_numbers(page)) > 1000


def test_an_absent_cohort_is_said_and_the_mistakes_stand_as_a_table(
    loaded: LoadedRun, tmp_path: Path
) -> None:
    run = loaded("simulate")
    settings = run.study.settings.model_copy(update={"cohort": str(tmp_path / "gone")})
    study = run.study.model_copy(update={"settings": settings})
    page = render(make_page([Run(run.folder, study, run.predictions)]))
    assert "the cohort is not where the run found it" in page
    assert "<img" not in page
    kinds = Counter(number.get("kind") for number in shown_numbers(page))
    assert kinds["mistake"] == 12


def test_images_are_left_out_where_the_user_says_so(loaded: LoadedRun) -> None:
    page = render(make_page([loaded("simulate")], images=False))
    assert "<img" not in page
    assert "--no-images" in page
