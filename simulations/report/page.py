"""Runs as one page of HTML: no script, nothing from any network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from simulations.report.all_numbers import (
    ComparisonTable,
    class_tables,
    comparison_tables,
    metric_tables,
)
from simulations.report.answers import Answer, answer
from simulations.report.facts import FEW_LESIONS, Facts
from simulations.report.fairness_tables import FairnessTable, fairness_tables
from simulations.report.grid import Grid
from simulations.report.loading import Run
from simulations.report.mistakes import MOST_OF_A_SITE, Mistake, confident_mistakes
from simulations.report.numbers import Tally, count, format_number, format_p
from simulations.report.paired import Paired, paired_comparisons
from simulations.report.panels import Panel, panels
from simulations.report.thumbnails import Thumbnail, thumbnails
from simulations.report.titles import attribute_title, model_meaning, model_title


@dataclass(frozen=True)
class RunView:
    """What a page shows of one run.

    Attributes
    ----------
    number : int
        From 1.
    heading : str
        Study and cohort.
    facts : Facts
        The study.
    answer : Answer
        In words.
    panels : list of Panel
        Figures.
    fairness : list of FairnessTable
        Spread over groups.
    mistakes : list of Mistake
        The most confident ones.
    thumbnails : dict of str to Thumbnail
        Their images by id; empty without images.
    no_images : str
        Why there are none; empty with images.
    models : list of (str, str)
        Title and meaning.
    metric_tables, class_tables, comparisons : list
        All numbers.
    """

    number: int
    heading: str
    facts: Facts
    answer: Answer
    panels: list[Panel]
    fairness: list[FairnessTable]
    mistakes: list[Mistake]
    thumbnails: dict[str, Thumbnail]
    no_images: str
    models: list[tuple[str, str]]
    metric_tables: list[tuple[Grid, str]]
    class_tables: list[Grid]
    comparisons: list[ComparisonTable]


@dataclass(frozen=True)
class Page:
    """A whole page.

    Attributes
    ----------
    title : str
        Its heading.
    runs : list of RunView
        In the order given.
    paired : list of Paired
        Simulations against each other.
    """

    title: str
    runs: list[RunView]
    paired: list[Paired]


def make_page(runs: Sequence[Run], *, cohort: Path | None = None, images: bool = True) -> Page:
    """Gather what a page shows.

    Parameters
    ----------
    runs : sequence of Run
        From `load_run`.
    cohort : Path, optional
        Where the images are, if not where the run says.
    images : bool
        Whether to show images of mistakes.

    Raises
    ------
    CohortError
        If the cohort's table or images are not what they must be.
    ImageError
        If an image cannot be read.
    RunFolderError
        If a result lacks what its study must have.
    """
    views = [
        _view(number, run, cohort, images=images, of_several=len(runs) > 1)
        for number, run in enumerate(runs, start=1)
    ]
    one = f"{views[0].heading}: report"
    return Page(
        one if len(views) == 1 else f"Report of {len(views)} runs", views, paired_comparisons(runs)
    )


def _view(number: int, run: Run, cohort: Path | None, *, images: bool, of_several: bool) -> RunView:
    facts = Facts(run.study)
    heading = f"{run.study.cohort.name}, {run.study.study.replace('-', ' ')}"
    if of_several:
        heading = f"{run.folder.name}: {heading}"
    mistakes = confident_mistakes(facts, run.predictions)
    small, why_not = _thumbnails(run, mistakes, cohort, images=images)
    models = dict.fromkeys(model for model, _ in facts.series)
    return RunView(
        number=number,
        heading=heading,
        facts=facts,
        answer=answer(facts),
        panels=panels(facts),
        fairness=fairness_tables(facts),
        mistakes=mistakes,
        thumbnails=small,
        no_images=why_not,
        models=[(model_title(model), model_meaning(model)) for model in models],
        metric_tables=metric_tables(facts),
        class_tables=class_tables(facts),
        comparisons=comparison_tables(facts),
    )


def _thumbnails(
    run: Run, mistakes: list[Mistake], cohort: Path | None, *, images: bool
) -> tuple[dict[str, Thumbnail], str]:
    """Make the images, or tell why there are none."""
    if not images:
        return {}, "Made without images (--no-images)."
    folder = cohort or Path(run.study.settings.cohort)
    if cohort is None and not folder.exists():
        return {}, "Without images, since the cohort is not where the run found it; see --cohort."
    return thumbnails(folder, [one.image_id for one in mistakes]), ""


def render(page: Page) -> str:
    """Write a page as HTML.

    All text is escaped; only the drawings, which escape their own, are put in as they are.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("simulations.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": format_number,
        "count": count,
        "p": format_p,
        "mib": _mib,
        "model": model_title,
        "attribute": attribute_title,
    }
    environment.tests["tally"] = lambda piece: isinstance(piece, Tally)
    return environment.get_template("page.html").render(
        page=page, few_lesions=FEW_LESIONS, most_of_a_site=MOST_OF_A_SITE
    )


def _mib(value: float | None) -> str:
    return format_number(None if value is None else value / 2**20, 1)
