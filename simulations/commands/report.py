"""``dermafed report``: run folders as one page of HTML, and a model card beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.console import messages, output, say
from common.errors import SettingsError
from common.options import Overwrite
from common.whole_file import check_output, whole_file

PAGE, CARD = "report.html", "model-card.md"


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.", metavar="RUN...")],
    out: Annotated[
        Path | None,
        typer.Option(help="Page to write; RUN/report.html for one run, else ./report.html."),
    ] = None,
    cohort: Annotated[
        Path | None,
        typer.Option(help="Where the cohort's images are, if not where the run found them."),
    ] = None,
    no_images: Annotated[
        bool, typer.Option("--no-images", help="Show mistakes without their images.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Write a report of one or several runs: a self-contained page and a model card (Markdown).

    Examples
    --------
      dermafed report runs/travel

      dermafed report runs/ridge runs/logistic --out compared.html

      dermafed report runs/travel --no-images --overwrite
    """
    page = out or (runs[0] / PAGE if len(runs) == 1 else Path(PAGE))
    card = page.with_name(f"{page.stem}-{CARD}")
    if len({run.absolute() for run in runs}) < len(runs):
        raise SettingsError("RUN: a folder stands twice; name each once")
    if cohort is not None and no_images:
        raise SettingsError("--cohort is for images; leave it out, or --no-images")
    for path in (page, card):
        check_output(path, overwrite=overwrite)

    # matplotlib and jinja2 are imported only here: --help needs neither.
    try:
        from simulations.report.loading import load_run
        from simulations.report.model_card import model_card
        from simulations.report.page import make_page, render
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"{error.name} is not installed; install dermafed with the extra simulation"
        ) from error

    loaded = [load_run(run) for run in runs]
    made = make_page(loaded, cohort=cohort, images=not no_images)
    for path, text in ((page, render(made)), (card, model_card(loaded))):
        with whole_file(path) as partial:
            partial.write_text(text, encoding="utf-8")
    for view in made.runs:
        if view.no_images and not no_images:
            say(messages(), f"{runs[view.number - 1]}: {view.no_images}")
    for path in (page, card):
        say(output(), f"{path}")
