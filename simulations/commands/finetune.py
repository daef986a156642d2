"""``dermafed finetune``: the backbone fine-tuned over simulated sites, and its frozen head."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.console import output
from common.finetuning.head import head_settings
from common.finetuning.strategies import STRATEGIES
from common.interruption import features_are_kept
from common.learners import LINEAR
from common.limits import DEFAULT_MINIMUM
from common.options import BackboneName, CacheFolder, Overwrite, SkipUnreadable, SplitSeed
from common.run_folder import check_run_folder
from common.settings import RunSettings
from simulations.commands.folders import run_folders
from simulations.commands.lab_run import dated_folder, run_shown, simulation_extra
from simulations.finetuning_table import show_finetuning


@features_are_kept
def finetune(
    cohort: Annotated[
        Path | None,
        typer.Argument(help="Cohort folder or manifest; the embedded synthetic cohort if absent."),
    ] = None,
    strategy: Annotated[str, typer.Option(help=f"One of: {', '.join(STRATEGIES)}.")] = "fedavg",
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the strategy, as key=value; once for each."),
    ] = None,
    training: Annotated[
        list[str] | None,
        typer.Option("--train", help="A setting of local training, as key=value; once for each."),
    ] = None,
    learner: Annotated[
        str, typer.Option(help=f"Head to start from, one of: {', '.join(LINEAR)}.")
    ] = "ridge",
    partition: Annotated[
        str, typer.Option(help="site, iid:N, dirichlet:ALPHA:N, quantity:N or classes:K:N.")
    ] = "site",
    backbone: BackboneName = "efficientnet_lite0",
    split_seed: SplitSeed = 1,
    seed: Annotated[
        int, typer.Option(help="Seed of the partition and of the sites' training.")
    ] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Run folder to write; runs/<date and time> if absent.")
    ] = None,
    overwrite: Overwrite = False,
    cache: CacheFolder = None,
    skip_unreadable: SkipUnreadable = False,
    quorum: Annotated[int, typer.Option(help="Sites that must answer; 0 for all.")] = 0,
    deadline: Annotated[
        float, typer.Option(help="Seconds that a site may take to answer.")
    ] = 3600.0,
    retries: Annotated[
        int, typer.Option(help="How often a round below the quorum is repeated.")
    ] = 2,
    disclosure: Annotated[
        str, typer.Option(help="What sites withhold: exact (nothing) or guarded, as real ones.")
    ] = "exact",
    minimum_count: Annotated[
        int, typer.Option(help="Fewest images that a guarded site's statistic may be over.")
    ] = DEFAULT_MINIMUM,
    without: Annotated[
        list[str] | None, typer.Option(help="A site that has withdrawn; once for each.")
    ] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Folder for each round's numbers, for TensorBoard.")
    ] = None,
    mlflow: Annotated[
        str, typer.Option(help="MLflow tracking server for them, as http://HOST:PORT.")
    ] = "",
    ray_address: Annotated[
        str | None,
        typer.Option(help="A running Ray cluster, as HOST:PORT; COHORT is then a folder there."),
    ] = None,
) -> None:
    """Fine-tune the backbone over simulated sites, from an exact federated head.

    A run that was stopped goes on after its last finished round when the same command with the
    same --out is given again; until then, its state is in the folder OUT.unfinished.

    Examples
    --------
      dermafed finetune --train plan=head:1,2:2 --train steps=5

      dermafed finetune path/to/HAM10000 --out runs/tuned

      dermafed finetune path/to/HAM10000 --strategy fedprox --set mu=0.1 --train plan=2:5,all:10

      dermafed finetune path/to/HAM10000 --strategy scaffold --train optimizer=sgd --train lr=0.01

      dermafed finetune --backbone efficientnet_lite0+view:128x96 --train batch=16

      dermafed finetune path/to/HAM10000 --out runs/tuned --tensorboard runs/board/tuned
    """
    run = out or dated_folder("finetune")
    settings = RunSettings.from_run_config(
        {
            "strategy": strategy,
            "strategy-settings": " ".join(assignments or ()),
            "training": " ".join(training or ()),
            "learner": learner,
            "learner-settings": head_settings(learner),
            "partition": partition,
            "backbone": backbone,
            "disclosure": disclosure,
            "minimum-count": minimum_count,
            "without": ",".join(without or ()),
            "split-seed": split_seed,
            "seed": seed,
            "overwrite": overwrite,
            "skip-unreadable": skip_unreadable,
            "quorum": quorum,
            "deadline": deadline,
            "retries": retries,
            "tensorboard": "" if tensorboard is None else str(tensorboard.absolute()),
            "mlflow": mlflow,
            **run_folders(cohort, run, cache, ray_address),
        }
    )
    check_run_folder(run, overwrite=overwrite)
    _check_names(settings)

    # Ray and torch are imported only here: --help and a wrong setting need neither.
    with simulation_extra():
        from simulations.finetuning import finetune as run_finetuning
    show_finetuning(output(), run_shown(run_finetuning, settings, ray_address), run)


def _check_names(settings: RunSettings) -> None:
    """Refuse an unknown name or setting, or a missing package, before anything is computed."""
    from common.finetuning.check import check_finetuning
    from common.learners import read_settings
    from common.partition import parse_partition
    from server.finetuning.sinks import check_sinks

    check_finetuning(settings)
    read_settings(settings.learner, settings.learner_settings)
    parse_partition(settings.partition)
    check_sinks(settings)
