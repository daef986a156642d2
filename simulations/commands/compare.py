"""``dermafed compare``: backbones, classifiers and treatments of imbalance, side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from common.console import messages, output, progress_bar, say
from common.feature_cache import default_cache
from common.finetuning.strategies import STRATEGIES
from common.learners import LEARNERS
from common.options import CacheFolder, SkipUnreadable
from common.sources.embedded import embedded_cohort
from common.split import TURNS
from simulations.studies.compare import DEFAULT_TREATMENTS, STUDY
from simulations.studies.options import StudyOptions


def compare(
    cohort: Annotated[
        Path | None,
        typer.Argument(help="Cohort folder or manifest; the embedded synthetic cohort if absent."),
    ] = None,
    out: Annotated[Path, typer.Option(help="The comparison's folder.")] = Path("runs/compare"),
    backbone: Annotated[
        list[str] | None,
        typer.Option(help="As `dermafed backbones` lists them; once for each; the default one."),
    ] = None,
    learner: Annotated[
        list[str] | None,
        typer.Option(
            help=f"One of: {', '.join(LEARNERS)}; with settings as 'svm kernel=rff'; once for "
            "each; one of each family if absent."
        ),
    ] = None,
    imbalance: Annotated[
        list[str] | None,
        typer.Option(
            help="none, weights, or what imbalanced-learn does, as 'smote neighbours=3'; once for "
            f"each; {', '.join(DEFAULT_TREATMENTS)} if absent."
        ),
    ] = None,
    views: Annotated[
        list[int] | None,
        typer.Option(
            help="Augmented views of each training image that heads learn from beside it; once "
            "for each number; 0 if absent."
        ),
    ] = None,
    strategy: Annotated[
        list[str] | None,
        typer.Option(
            help="Fine-tune each backbone that has stages, too, on the same split: "
            f"{', '.join(STRATEGIES)}; with settings as 'fedprox mu=0.01'; once "
            "for each; none if absent."
        ),
    ] = None,
    train: Annotated[
        list[str] | None,
        typer.Option(
            help="key=value of training; the augmentation is that of the views, too.",
        ),
    ] = None,
    turns: Annotated[
        int,
        typer.Option(help="Of the five parts of the cohort, how many are tested in turn."),
    ] = TURNS,
    split_seed: Annotated[int, typer.Option(help="Seed of the split by lesion.")] = 1,
    draws: Annotated[int, typer.Option(help="Resamples of lesions behind each interval.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of the resamples.")] = 0,
    cache: CacheFolder = None,
    skip_unreadable: SkipUnreadable = False,
    ray_address: Annotated[
        str | None, typer.Option(help="A running Ray cluster, as HOST:PORT.")
    ] = None,
) -> None:
    """Compare backbones x classifiers x treatments of imbalance, each a federation of all sites.

    Every image is tested once, by a model that has seen no image of its lesion. Interrupted, the
    same command goes on. Each backbone is first matched to a reference output. With --strategy,
    fine-tuned networks stand beside heads on frozen features; with --views, the heads have seen the
    same augmentation.

    Examples
    --------
      dermafed compare

      dermafed compare path/to/HAM10000 --backbone efficientnet_lite0 --backbone efficientnet_lite1

      dermafed compare path/to/HAM10000 --learner logistic --learner forest --imbalance smote

      dermafed compare path/to/HAM10000 --views 0 --views 4 --strategy fedavg --train plan=all:70
    """
    console = messages()
    backbones = tuple(backbone or ("efficientnet_lite0",))
    options = StudyOptions(
        cohort=cohort.resolve() if cohort is not None else Path(),
        out=out.absolute(),
        cache=(cache or default_cache()).absolute(),
        learners=tuple(learner or ()),
        split_seeds=(split_seed,),
        draws=draws,
        seed=seed,
        backbone=backbones[0],
        backbones=backbones,
        treatments=tuple(imbalance or ()),
        turns=turns,
        views=tuple(views or (0,)),
        strategies=tuple(strategy or ()),
        training=" ".join(train or ()),
        skip_unreadable=skip_unreadable,
    )
    options.check()
    # Random weights, or another network's, would give numbers that look like results.
    from common.backbones.reference import match_reference
    from simulations.studies.network_cost import network_cost

    networks = {}
    for name in backbones:
        match = match_reference(name)
        networks[name] = network_cost(name)
        frozen = "; frozen only" if strategy and name not in options.tuned else ""
        say(console, f"{match.name}: matches {match.against} ({match.difference:.0e}){frozen}")
    if cohort is None:
        with progress_bar(console, "synthetic cohort") as bar:
            made = embedded_cohort(default_cache(), bar)
        options = replace(options, cohort=made)

    from simulations.studies.comparison_figure import draw_comparison
    from simulations.studies.comparison_table import show_comparison
    from simulations.studies.runner import run_study
    from simulations.studies.screen import screen

    with screen(console) as display:
        result = run_study(
            STUDY,
            options,
            ray_address=ray_address,
            display=display,
            more={"networks": networks},
        )
    draw_comparison(result, options.out)
    show_comparison(output(), result, options.out)
