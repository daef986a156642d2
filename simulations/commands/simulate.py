"""``dermafed simulate``: a federation over simulated sites, on this machine or a Ray cluster."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from common.console import messages, output, progress_bar, say
from common.errors import SettingsError
from common.feature_cache import default_cache
from common.learners import LEARNERS
from common.options import BackboneName, CacheFolder, Overwrite, SkipUnreadable, SplitSeed
from common.run_folder import check_run_folder
from common.settings import RunSettings
from common.sources.embedded import embedded_cohort
from simulations.table import show_result


def simulate(
    cohort: Annotated[
        Path | None,
        typer.Argument(help="Cohort folder or manifest; the embedded synthetic cohort if absent."),
    ] = None,
    learner: Annotated[str, typer.Option(help=f"One of: {', '.join(LEARNERS)}.")] = "ridge",
    partition: Annotated[str, typer.Option(help="site, iid:N or dirichlet:ALPHA:N.")] = "site",
    backbone: BackboneName = "efficientnet_lite0",
    alpha_per_image: Annotated[
        float, typer.Option(help="Ridge penalty, divided by the training images.")
    ] = 1.0,
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
    """
    run = out or Path("runs") / datetime.now().astimezone().strftime("simulate-%Y%m%d-%H%M%S")
    if cohort is None and ray_address is not None:
        raise SettingsError("--ray-address: name a COHORT that the cluster's machines can read")
    folder = None if cohort is None else (cohort.absolute() if ray_address else cohort.resolve())
    folders = {"cohort": "" if folder is None else str(folder), "out": str(run.absolute())}
    if cache is not None or ray_address is None:
        folders["cache"] = str((cache or default_cache()).absolute())
    settings = RunSettings.from_run_config(
        {
            "learner": learner,
            "partition": partition,
            "backbone": backbone,
            "alpha-per-image": alpha_per_image,
            "split-seed": split_seed,
            "seed": seed,
            "overwrite": overwrite,
            "skip-unreadable": skip_unreadable,
            "quorum": quorum,
            "deadline": deadline,
            "window": window,
            **folders,
        }
    )
    check_run_folder(run, overwrite=overwrite)
    _check_names(settings)

    console = messages()
    if not settings.cohort:
        with progress_bar(console, "synthetic cohort") as bar:
            made = embedded_cohort(default_cache(), bar)
        settings = settings.model_copy(update={"cohort": str(made)})

    # Ray is imported only here: --help and a wrong setting need none of it.
    try:
        from simulations.federation import Display
        from simulations.federation import simulate as run_simulation
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"{error.name} is not installed; install dermafed with the extra simulation"
        ) from error

    with progress_bar(console, "start") as bar:
        display = Display(
            phase=bar.describe,
            progress=bar,
            note=lambda line: say(console, line),
        )
        result = run_simulation(settings, ray_address=ray_address, display=display)
    for name, reason in result["partition"]["left_out"].items():
        say(console, f"site {name} left out: {reason}")
    show_result(output(), result, run)


def _check_names(settings: RunSettings) -> None:
    """Refuse an unknown learner, backbone or partition before anything is computed."""
    from common.backbones import get_backbone
    from common.learners import make_learner
    from common.learners.base import Problem
    from common.partition import parse_partition

    backbone = get_backbone(settings.backbone)
    make_learner(settings.learner, Problem(("a", "b"), backbone.dimension), 1.0)
    parse_partition(settings.partition)
