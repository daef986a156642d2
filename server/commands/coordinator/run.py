"""``dermafed coordinator run``: train over the sites that are there."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from common.console import messages, output, say
from common.deployment.flower import shown
from common.errors import DeploymentError, SettingsError
from common.finetuning.check import check_finetuning, check_site_count
from common.finetuning.head import head_settings
from common.finetuning.strategies import STRATEGIES
from common.imbalance.check import check_imbalance
from common.imbalance.option import ImbalanceTreatment
from common.interruption import held_back
from common.learners import LEARNERS, read_settings
from common.limits import DEFAULT_MINIMUM, MOST_DRAWS
from common.metadata import read_fusion
from common.metadata.check import check_metadata, refuse_of_lab
from common.metadata.late import late_stack
from common.metadata.option import MetadataFusion
from common.options import BackboneName, SplitSeed
from common.settings import RunSettings
from server.commands.coordinator.folder import DEFAULT, CoordinatorFolder
from server.commands.coordinator.following import follow_shown, goes_on
from server.deployment.follow import is_under_way
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
    learner: Annotated[
        str, typer.Option(help=f"The head, one of: {', '.join(LEARNERS)}.")
    ] = "ridge",
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="key=value of the strategy, or of the learner if there is none."
        ),
    ] = None,
    strategy: Annotated[
        str, typer.Option(help=f"Fine-tune, too, by one of: {', '.join(STRATEGIES)}.")
    ] = "",
    training: Annotated[
        list[str] | None,
        typer.Option("--train", help="A setting of local training, as key=value; once for each."),
    ] = None,
    backbone: BackboneName = "efficientnet_lite0",
    imbalance: ImbalanceTreatment = "",
    metadata: MetadataFusion = "",
    split_seed: SplitSeed = 1,
    seed: Annotated[int, typer.Option(help="Seed of the sites' training.", min=0)] = 0,
    minimum_count: Annotated[
        int, typer.Option(help="Fewest images of a statistic; a site may ask for more.", min=2)
    ] = DEFAULT_MINIMUM,
    sites: Annotated[int, typer.Option(help="Sites to wait for; 0 for all invited.", min=0)] = 0,
    quorum: Annotated[
        int, typer.Option(help="Sites that must answer each round; 0 for all.", min=0)
    ] = 0,
    deadline: Annotated[
        float | None,
        typer.Option(help="Seconds that a site may take; 600, or 3600 where it fine-tunes."),
    ] = None,
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
    following and not the run; --resume NAME follows it again while it is under way, and goes on
    with one that has failed or was stopped, after its last round. With a quorum, the run begins
    without sites that are not online by the deadline, and its results name them.

    With a strategy, the backbone is fine-tuned from the exact head, as dermafed finetune does; each
    site must allow the strategy in its site.toml.

    Examples
    --------
      dermafed coordinator run --learner logistic
      dermafed coordinator run --learner logistic --imbalance smote
      dermafed coordinator run --quorum 3 --deadline 300
      dermafed coordinator run --strategy fedprox --set mu=0.1 --train plan=2:5,all:10
      dermafed coordinator run --resume 20261121-093000
    """
    folder, console = folder.absolute(), messages()
    coordinator = read_coordinator_file(folder)
    if resume:
        before = read_run(folder, resume)
        name, settings = resume, before.run_settings
        if Path(settings.out).exists():
            raise DeploymentError(f"run {resume}: is finished; {settings.out} has its results")
        # Twice at once, it would write its checkpoints over each other.
        if not dry_run and is_under_way(folder, coordinator, before):
            say(console, f"run {resume} is under way; following it")
            follow_shown(folder, coordinator, before, console)
            return
    else:
        name = name or f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
        members = read_registry(folder / REGISTRY_FILE)
        if not members:
            raise DeploymentError(
                "no site is invited: dermafed coordinator invite SITE --key SITE.pub"
            )
        values = " ".join(assignments or ())
        if read_fusion(metadata).kind == "late" and not strategy:
            learner, values = late_stack(learner, values)
        settings = RunSettings(
            learner=learner,
            learner_settings=head_settings(learner) if strategy else values,
            strategy=strategy,
            strategy_settings=values if strategy else "",
            training=" ".join(training or ()),
            imbalance=imbalance,
            metadata=metadata,
            backbone=backbone,
            split_seed=split_seed,
            seed=seed,
            disclosure="guarded",
            minimum_count=minimum_count,
            sites=sites or len(members),
            quorum=quorum,
            deadline=deadline or (3600.0 if strategy else 600.0),
            retries=retries,
            draws=draws,
            registry=str(folder / REGISTRY_FILE),
            out=str(folder / RUNS / name),
        )
        _check(settings)
        if quorum > len(members):
            raise SettingsError(f"--quorum {quorum}: {len(members)} sites are invited")
    if dry_run:
        write_settings(folder, name, settings)
        say(output(), shown(submit_command(folder, name)))
        return
    with goes_on(name, folder, console), held_back():
        record: Submitted = submit(folder, name, settings)
    say(console, f"run {name}, Flower's {record.flower_runs[-1]}")
    follow_shown(folder, coordinator, record, console)


def _check(settings: RunSettings) -> None:
    """Refuse a wrong setting here: sites that read it could but refuse without saying why."""
    read_settings(settings.learner, settings.learner_settings)
    check_imbalance(settings)
    refuse_of_lab(check_metadata(settings))
    if settings.strategy:
        check_finetuning(settings)
        check_site_count(settings, settings.sites)
    elif settings.training:
        raise SettingsError("run setting training: is for fine-tuning; give a --strategy, too")
