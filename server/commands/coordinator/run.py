"""``dermafed coordinator run``: train over the sites that are there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from common.console import messages, output, say
from common.deployment.flower import shown
from common.errors import DeploymentError
from common.limits import DEFAULT_MINIMUM, MOST_DRAWS
from common.options import BackboneName, SplitSeed
from common.settings import RunSettings
from server.commands.coordinator.folder import DEFAULT, CoordinatorFolder
from server.deployment.follow import follow
from server.deployment.registry import REGISTRY_FILE, read_registry
from server.deployment.runs import (
    RUNS,
    Submitted,
    read_run,
    submit,
    submit_command,
    write_settings,
)
from server.deployment.settings import read_coordinator_file


def run(
    folder: CoordinatorFolder = DEFAULT,
    learner: Annotated[str, typer.Option(help="The head.")] = "ridge",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="key=value of the learner, or strategy.")
    ] = None,
    strategy: Annotated[str, typer.Option(help="Fine-tune by it; nothing for the head.")] = "",
    train: Annotated[list[str] | None, typer.Option(help="key=value of fine-tuning.")] = None,
    backbone: BackboneName = "efficientnet_lite0",
    split_seed: SplitSeed = 1,
    minimum_count: Annotated[
        int, typer.Option(help="Fewest images of a statistic; a site may ask for more.", min=2)
    ] = DEFAULT_MINIMUM,
    sites: Annotated[int, typer.Option(help="Sites to wait for; 0 for all invited.", min=0)] = 0,
    quorum: Annotated[
        int, typer.Option(help="Sites that must answer each round; 0 for all.", min=0)
    ] = 0,
    deadline: Annotated[float, typer.Option(help="Seconds that a site may take.")] = 600.0,
    retries: Annotated[int, typer.Option(help="How often a lost site is asked again.")] = 2,
    draws: Annotated[
        int, typer.Option(help="Resamples behind intervals.", min=0, max=MOST_DRAWS)
    ] = MOST_DRAWS,
    name: Annotated[str, typer.Option(help="The run's name; the time if none is given.")] = "",
    resume: Annotated[str, typer.Option(help="Go on with the run of this name.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print Flower's command and run nothing.")
    ] = False,
) -> None:
    """Run a federation over the invited sites, and follow it.

    The model and its results come to runs/NAME in the coordinator's folder. Ctrl-C stops the
    following and not the run. With a quorum, the run begins without sites that are not online by
    the deadline, and its results name them.

    Examples
    --------
      dermafed coordinator run --learner logistic
      dermafed coordinator run --quorum 3 --deadline 300
      dermafed coordinator run --resume 20261121-093000
    """
    folder, console = folder.absolute(), messages()
    coordinator = read_coordinator_file(folder)
    if resume:
        name, settings = resume, read_run(folder, resume).run_settings
        if Path(settings.out).exists():
            raise DeploymentError(f"run {resume}: is finished; {settings.out} has its results")
    else:
        name = name or f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
        members = read_registry(folder / REGISTRY_FILE)
        if not members:
            raise DeploymentError(
                "no site is invited: dermafed coordinator invite SITE --key SITE.pub"
            )
        values = " ".join(set_ or ())
        settings = RunSettings(
            learner=learner,
            learner_settings="" if strategy else values,
            strategy=strategy,
            strategy_settings=values if strategy else "",
            training=" ".join(train or ()),
            backbone=backbone,
            split_seed=split_seed,
            disclosure="guarded",
            minimum_count=minimum_count,
            sites=sites or len(members),
            quorum=quorum,
            deadline=deadline,
            retries=retries,
            draws=draws,
            registry=str(folder / REGISTRY_FILE),
            out=str(folder / RUNS / name),
        )
    if dry_run:
        write_settings(folder, name, settings)
        say(output(), shown(submit_command(folder, name)))
        return
    record: Submitted = submit(folder, name, settings)
    say(console, f"run {name}, Flower's {record.flower_runs[-1]}")
    follow(folder, coordinator, record, lambda line: say(console, line))
