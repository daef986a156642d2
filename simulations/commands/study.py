"""``dermafed study``: many federations, one question, on this machine or a Ray cluster."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from common.console import messages, output, progress_bar
from common.errors import StudyError
from common.feature_cache import default_cache
from common.finetuning.strategies import STRATEGIES
from common.imbalance.option import ImbalanceTreatment
from common.interruption import features_are_kept
from common.learners import LEARNERS
from common.metadata.option import MetadataFusion
from common.options import BackboneName, CacheFolder, SkipUnreadable
from common.sources.embedded import embedded_cohort
from simulations.studies import STUDIES
from simulations.studies.options import StudyOptions


@features_are_kept
def study(
    name: Annotated[str, typer.Argument(help=f"One of: {', '.join(STUDIES)}.")],
    cohort: Annotated[
        Path | None,
        typer.Argument(help="Cohort folder or manifest; the embedded synthetic cohort if absent."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The study's folder; runs/<name> if absent.")
    ] = None,
    learner: Annotated[
        list[str] | None,
        typer.Option(
            help=f"One of: {', '.join(LEARNERS)}; with settings as 'logistic pca=128'; in a study "
            f"of fine-tuning one of: {', '.join(STRATEGIES)}; as 'fedprox mu=0.1'. Once for each; "
            "the study's own choice if absent."
        ),
    ] = None,
    split_seed: Annotated[
        list[int] | None,
        typer.Option(help="A seed of the split by lesion; once for each; 1, 2 and 3 if absent."),
    ] = None,
    draws: Annotated[int, typer.Option(help="Resamples of lesions behind each interval.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of drawn partitions and of resamples.")] = 0,
    partition: Annotated[
        list[str] | None,
        typer.Option(
            help="heterogeneity: site, iid:N, dirichlet:ALPHA:N, quantity:N, classes:K:N or "
            "look:N; once for each."
        ),
    ] = None,
    images_per_site: Annotated[
        list[int] | None, typer.Option(help="learning-curve: a number of images; once for each.")
    ] = None,
    imbalance: ImbalanceTreatment = "",
    metadata: MetadataFusion = "",
    training: Annotated[
        list[str] | None,
        typer.Option(
            "--train", help="fine-tuning: a setting of training, as key=value; once for each."
        ),
    ] = None,
    local: Annotated[
        bool,
        typer.Option(
            help="fine-tuning: also let each site fine-tune alone, which takes several times as "
            "long as a strategy."
        ),
    ] = True,
    backbone: BackboneName = "efficientnet_lite0",
    cache: CacheFolder = None,
    skip_unreadable: SkipUnreadable = False,
    ray_address: Annotated[
        str | None, typer.Option(help="A running Ray cluster, as HOST:PORT.")
    ] = None,
) -> None:
    """Run a study: a list of federations, each beside the models that it must be compared with.

    Interrupted, the same command goes on; what is done is not done again. The folder holds
    result.json and predictions.csv, from which every number can be computed again.

    Examples
    --------
      dermafed study leave-one-site-out

      dermafed study leave-one-site-out path/to/HAM10000 --out runs/travel

      dermafed study cross-site path/to/HAM10000 --learner ridge --learner 'logistic pca=128'

      dermafed study leave-one-site-out --learner 'logistic pca=128' --imbalance smote

      dermafed study heterogeneity --partition iid:4 --partition dirichlet:0.1:4

      dermafed study fusion path/to/HAM10000 --learner ridge

      dermafed study fine-tuning --learner fedavg --learner 'fedprox mu=0.1' --train plan=2:4

      dermafed report runs/travel
    """
    if name not in STUDIES:
        raise StudyError(f"study {name!r} is unknown; choose one of: {', '.join(STUDIES)}")
    for option, given, only in (
        ("--partition", partition, "heterogeneity"),
        ("--images-per-site", images_per_site, "learning-curve"),
    ):
        if given and name != only:
            raise StudyError(f"{option} is for the study {only}; leave it out of {name}")
    if (training or not local) and not STUDIES[name].tunes:
        option = "--train" if training else "--no-local"
        raise StudyError(f"{option} is for the studies of fine-tuning; leave it out of {name}")
    console = messages()
    options = StudyOptions(
        cohort=cohort.resolve() if cohort is not None else Path(),
        out=(out or Path("runs") / name).absolute(),
        cache=(cache or default_cache()).absolute(),
        learners=tuple(learner or ()),
        split_seeds=tuple(split_seed or (1, 2, 3)),
        draws=draws,
        seed=seed,
        backbone=backbone,
        partitions=tuple(partition or ()),
        images_per_site=tuple(images_per_site or ()),
        imbalance=imbalance,
        metadata=metadata,
        training=" ".join(training or ()),
        local=local,
        skip_unreadable=skip_unreadable,
    )
    options.check(tunes=STUDIES[name].tunes)
    if cohort is None:
        with progress_bar(console, "synthetic cohort") as bar:
            made = embedded_cohort(default_cache(), bar)
        options = replace(options, cohort=made)

    # Ray is imported only here: --help and a wrong setting need none of it.
    from simulations.studies.runner import run_study
    from simulations.studies.screen import screen
    from simulations.studies.table import show_study

    with screen(console) as display:
        result = run_study(STUDIES[name], options, ray_address=ray_address, display=display)
    show_study(output(), result, options.out)
