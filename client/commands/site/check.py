"""``dermafed site check``: whether a site can take part, and what would leave it."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from client.commands.site.folder import DEFAULT, SiteFolder
from client.deployment.checkup import check_site
from client.deployment.leaving import statistics
from client.deployment.settings import read_site_file
from common.cohort import load_cohort
from common.console import output, say
from common.errors import DermafedError


def check(
    folder: SiteFolder = DEFAULT,
    learner: Annotated[str, typer.Option(help="Whose statistics to list.")] = "logistic",
) -> None:
    """Check cohort, disk, weights, network, certificate and clock; list what would leave.

    The exit code is 1 if the site cannot take part.

    Example:

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
    bounds = site.bounds
    table = Table(
        *("stage", "over", "statistic", "shape", "dtype", "bytes", "images at least"),
        title=f"What would leave this building with learner {learner}, at its default settings",
    )
    for one in statistics(
        learner, bounds.backbones[0], cohort.classes, bounds, malignant=bool(cohort.malignant)
    ):
        table.add_row(
            one.when,
            one.part,
            one.name,
            " x ".join("any" if n is None else str(n) for n in one.shape) or "1",
            one.dtype,
            f"{one.bytes:,}",
            str(one.minimum_count),
        )
    console.print(table)
    say(console, "On joining a run: the site's name, its numbers of images and lesions in each")
    say(console, "part of the split, the class names, and the classes that it withholds.")
    say(console, "With each statistic: the number of images that it is over.")
    say(console, f"Learners answered: {', '.join(bounds.learners)}")
    say(console, f"Treatments of imbalance answered: {', '.join(bounds.imbalance) or 'none'}")
    say(console, f"Fine-tuning answered: {', '.join(bounds.strategies) or 'none'}")
    if wrong:
        raise typer.Exit(1)
