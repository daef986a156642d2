"""``dermafed site check``: whether a site can take part, and what would leave it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from client.commands.site.folder import DEFAULT, SiteFolder
from client.deployment.checkup import check_site
from client.deployment.leaving_runs import Leaving, of_learners, of_strategies
from client.deployment.settings import Bounds, read_site_file
from common.cohort import load_cohort
from common.console import output, say
from common.errors import DermafedError
from common.metadata import read_fusion

_HEADER: tuple[str, ...] = ("stage", "over", "statistic", "shape", "bytes", "images at least")


def check(
    folder: SiteFolder = DEFAULT,
    learner: Annotated[
        str, typer.Option(help="Whose sums to list; every learner's that is allowed if absent.")
    ] = "",
    backbone: Annotated[
        str, typer.Option(help="Whose features they are of; the first allowed if absent.")
    ] = "",
) -> None:
    """Check cohort, disk, weights, network, certificate and clock; list what would leave.

    The exit code is 1 if the site cannot take part.

    Examples
    --------
      dermafed site check
      dermafed site check --learner ridge
    """
    site, console = read_site_file(folder), output()
    wrong = 0
    for finding in check_site(folder, site):
        wrong += not finding.right
        say(console, f"{'ok   ' if finding.right else 'WRONG'} {finding.what}: {finding.text}")
    try:
        cohort = load_cohort(site.cohort)
    except DermafedError:
        raise typer.Exit(1) from None
    bounds, malignant = site.bounds, bool(cohort.malignant)
    of, learners = backbone or bounds.backbones[0], (learner,) if learner else bounds.learners
    listed = of_learners(learners, of, cohort.classes, bounds, malignant=malignant)
    say(console, f"\nWhat would leave this building, asked by learner, with {of}:\n")
    for line in _lines(listed, learners):
        say(console, line)
    try:
        tuned = of_strategies(of, cohort.classes, bounds, malignant=malignant)
    except DermafedError as error:
        wrong += 1
        say(console, f"WRONG fine-tuning: {error}")
        tuned = ()
    if tuned:
        say(console, "\nIn each round of fine-tuning the whole network, asked by strategy:\n")
        for line in _lines(tuned, bounds.strategies):
            say(console, line)
    for line in _beside(bounds):
        say(console, line)
    if wrong:
        raise typer.Exit(1)


def _lines(listed: tuple[Leaving, ...], every: tuple[str, ...]) -> Iterator[str]:
    """Write a table that a narrow terminal takes, since no name in it may be cut."""
    rows = [_HEADER]
    for group in listed:
        names = "each" if group.names == every and len(every) > 1 else ", ".join(group.names)
        rows.append((f"{names}, if {group.setting}:" if group.setting else f"{names}:",))
        rows += [
            (
                one.when,
                one.part,
                one.name,
                " x ".join("any" if n is None else str(n) for n in one.shape) or "1",
                f"{'up to ' if None in one.shape else ''}{one.bytes:,}",
                str(one.minimum_count),
            )
            for one in group.statistics
        ]
    widths = [
        max(map(len, column)) for column in zip(*(r for r in rows if len(r) > 1), strict=True)
    ]
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)]
        yield row[0] if len(row) == 1 else "  " + "  ".join(cells).rstrip()


def _columns(bounds: Bounds) -> tuple[str, ...]:
    """Tell how metadata change the tables, which are of image features alone."""
    widths = sorted({read_fusion(text).width for text in bounds.metadata})
    if not widths:
        return ()
    more = " or ".join(map(str, widths))
    return (
        f"  With metadata, features have {more} columns more, or are these alone. Sums over them",
        "  tell how many images of a class have which age, sex and localisation; what fewer than",
        f"  {bounds.minimum_count} share, in one class and part of the split, counts as missing.",
    )


def _beside(bounds: Bounds) -> tuple[str, ...]:
    """Tell what the tables do not."""
    # The first line parts them from the table.
    return (
        "",
        "On joining a run: the site's name, its numbers of images and lesions in each",
        "part of the split, the class names, the classes that it withholds, and how many images a",
        "treatment of imbalance adds.",
        "With sums: the number of images that they are over. With weights: the number of steps and",
        "the mean loss. Weights are of rounds over at least the minimum count of different images;",
        "a coordinator chooses steps and rates, by which a few of these may count most.",
        f"Messages answered: {bounds.most_messages} of one run; runs: {bounds.most_runs or 'any'}",
        f"Learners answered: {', '.join(bounds.learners)}",
        f"Settings refused: {', '.join(bounds.refused) or 'none'}",
        f"Folds that learners may choose by: {bounds.most_folds} at most",
        f"Treatments of imbalance answered: {', '.join(bounds.imbalance) or 'none'}",
        f"Metadata answered: {', '.join(bounds.metadata) or 'none'}",
        *_columns(bounds),
        f"Fine-tuning answered: {', '.join(bounds.strategies) or 'none'}",
        f"Backbones answered: {', '.join(bounds.backbones)}; see --backbone",
    )
