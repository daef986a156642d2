"""``dermafed simulate``: a federation over simulated sites, on this machine or a Ray cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.console import output
from common.imbalance.option import ImbalanceTreatment
from common.interruption import features_are_kept
from common.learners import LEARNERS
from common.limits import DEFAULT_MINIMUM
from common.metadata import read_fusion
from common.metadata.late import late_stack
from common.metadata.option import MetadataFusion
from common.options import BackboneName, CacheFolder, Overwrite, SkipUnreadable, SplitSeed
from common.run_folder import check_run_folder
from common.settings import RunSettings
from simulations.commands.folders import run_folders
from simulations.commands.lab_run import dated_folder, run_shown, simulation_extra
from simulations.table import show_result


@features_are_kept
def simulate(
    cohort: Annotated[
        Path | None,
        typer.Argument(help="Cohort folder or manifest; the embedded synthetic cohort if absent."),
    ] = None,
    learner: Annotated[str, typer.Option(help=f"One of: {', '.join(LEARNERS)}.")] = "ridge",
    partition: Annotated[
        str, typer.Option(help="site, iid:N, dirichlet:ALPHA:N, quantity:N or classes:K:N.")
    ] = "site",
    backbone: BackboneName = "efficientnet_lite0",
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting of the learner, as key=value; once for each."),
    ] = None,
    imbalance: ImbalanceTreatment = "",
    metadata: MetadataFusion = "",
    split_seed: SplitSeed = 1,
    seed: Annotated[int, typer.Option(help="Seed of the partition.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="Run folder to write; runs/<date and time> if absent.")
    ] = None,
    overwrite: Overwrite = False,
    cache: CacheFolder = None,
    skip_unreadable: SkipUnreadable = False,
    quorum: Annotated[int, typer.Option(help="Sites that must answer; 0 for all.")] = 0,
    deadline: Annotated[
        float, typer.Option(help="Seconds that a site may take to answer.")
    ] = 600.0,
    window: Annotated[int, typer.Option(help="Messages in flight, at most.")] = 16,
    disclosure: Annotated[
        str, typer.Option(help="What sites withhold: exact (nothing) or guarded.")
    ] = "exact",
    minimum_count: Annotated[
        int, typer.Option(help="Fewest images that a guarded site's statistic may be over.")
    ] = DEFAULT_MINIMUM,
    warm_start: Annotated[
        Path | None, typer.Option(help="Run folder whose model an iterative learner starts from.")
    ] = None,
    without: Annotated[
        list[str] | None, typer.Option(help="A site that has withdrawn; once for each.")
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(help="A running Ray cluster, as HOST:PORT; COHORT is then a folder there."),
    ] = None,
) -> None:
    """Run a federation over simulated sites, with the pooled oracle beside it.

    Examples
    --------
      dermafed simulate

      dermafed simulate path/to/HAM10000 --out runs/ham --split-seed 1

      dermafed simulate path/to/HAM10000 --partition dirichlet:0.1:100 --out runs/skewed

      dermafed simulate path/to/HAM10000 --learner logistic --set pca=128

      dermafed simulate --learner ridge --set folds=5 --set search=grid:0.01:100:12

      dermafed simulate path/to/HAM10000 --learner logistic --imbalance "smote neighbours=3"

      dermafed simulate path/to/HAM10000 --metadata early
    """
    run = out or dated_folder("simulate")
    values = " ".join(assignments or ())
    if read_fusion(metadata).kind == "late":
        learner, values = late_stack(learner, values)
    settings = RunSettings.from_run_config(
        {
            "learner": learner,
            "partition": partition,
            "backbone": backbone,
            "learner-settings": values,
            "imbalance": imbalance,
            "metadata": metadata,
            "warm-start": "" if warm_start is None else str(warm_start.absolute()),
            "without": ",".join(without or ()),
            "disclosure": disclosure,
            "minimum-count": minimum_count,
            "split-seed": split_seed,
            "seed": seed,
            "overwrite": overwrite,
            "skip-unreadable": skip_unreadable,
            "quorum": quorum,
            "deadline": deadline,
            "window": window,
            **run_folders(cohort, run, cache, ray_address),
        }
    )
    check_run_folder(run, overwrite=overwrite)
    _check_names(settings)

    # Ray is imported only here: --help and a wrong setting need none of it.
    with simulation_extra():
        from simulations.federation import simulate as run_simulation
    show_result(output(), run_shown(run_simulation, settings, ray_address), run)


def _check_names(settings: RunSettings) -> None:
    """Refuse what is unknown, or goes with nothing else that is set, before any computing."""
    from common.backbones import get_backbone
    from common.imbalance.check import check_imbalance
    from common.learners import make_learner
    from common.partition import parse_partition
    from common.shipping import check_shipping

    backbone = get_backbone(settings.backbone)
    from common.metadata.check import check_metadata

    problem = check_metadata(settings).problem(("a", "b"), backbone.dimension)
    make_learner(settings.learner, problem, settings.learner_settings)
    parse_partition(settings.partition)
    check_imbalance(settings)
    check_shipping(settings)
