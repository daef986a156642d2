"""``dermafed contribute``: a site's sums for a model that it was not part of, as a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from client.site import open_site
from common.backbones import get_backbone
from common.cohort import load_cohort
from common.cohort_sites import rows_of_site
from common.console import messages, progress_bar, say
from common.disclosure import Disclosure
from common.errors import RunFolderError
from common.feature_cache import FeatureCache, default_cache
from common.imbalance import read_treatment
from common.interruption import features_are_kept
from common.learners import read_settings
from common.learners.base import Contribution
from common.learners.class_gram import ClassGrams
from common.ledger import Entry, EntryDescription, save_entry
from common.limits import DEFAULT_MINIMUM
from common.metadata import read_fusion
from common.metadata.check import refuse_of_lab
from common.model import read_description
from common.one_thread import one_blas_thread
from common.options import CacheFolder, Overwrite, SkipUnreadable
from common.split import Split
from common.whole_file import check_output, whole_file


@features_are_kept
def contribute(
    cohort: Annotated[Path, typer.Argument(help="Cohort folder or manifest.")],
    site: Annotated[str, typer.Option(help="The site in it that contributes.")],
    like: Annotated[Path, typer.Option(help="A model.json: its backbone, classes and split.")],
    out: Annotated[Path, typer.Option(help="File to write.")],
    minimum_count: Annotated[
        int, typer.Option(help="Fewest images of a class that a sum may be over.")
    ] = DEFAULT_MINIMUM,
    cache: CacheFolder = None,
    skip_unreadable: SkipUnreadable = False,
    overwrite: Overwrite = False,
) -> None:
    """Sum over a site's training images, for a coordinator that keeps a ledger.

    The file holds a Gram matrix of the features a class, which says more than other learners'
    sums do: read what the README says that sums tell before you hand it over.

    Example:

      dermafed contribute data/clinic --site our-clinic --like model.json --out clinic.safetensors
    """
    check_output(out, overwrite=overwrite)
    about, table = read_description(like), load_cohort(cohort)
    rows = rows_of_site(table, site)
    if table.classes != about.classes:
        raise RunFolderError(f"{like}: classes {about.classes}, but {table.root}: {table.classes}")
    backbone = get_backbone(about.backbone)
    if backbone.fingerprint != about.backbone_fingerprint:
        raise RunFolderError(f"{like}: trained on another release of backbone {about.backbone}")
    if not read_settings(about.learner, about.learner_settings).ledger:
        raise RunFolderError(
            f"{like}: {about.learner} without a ledger, so that no site's sums can be added; ask "
            "for a model of --set ledger=true, or join a new run"
        )
    fusion = read_fusion(about.metadata)
    refuse_of_lab(fusion)
    problem = fusion.problem(table.classes, backbone.dimension)
    console = messages()
    with progress_bar(console, "features") as bar:
        opened = open_site(
            site,
            table,
            rows,
            backbone,
            FeatureCache(cache or default_cache(), backbone),
            split_seed=about.split_seed,
            disclosure=Disclosure(minimum_count),
            treatment=read_treatment(about.imbalance),
            fusion=fusion,
            skip_unreadable=skip_unreadable,
            progress=bar,
        )
    for left_out in opened.unreadable:
        say(console, f"left out: {left_out}")
    for note in () if opened.treated is None else opened.treated.notes:
        say(console, note)
    data, withheld = opened.part(Split.TRAIN), opened.info().withheld
    with one_blas_thread():
        sums = ClassGrams(problem).sums(data)
    description = EntryDescription(
        site=site,
        images=len(data),
        classes=table.classes,
        dimension=problem.dimension,
        backbone_fingerprint=backbone.fingerprint,
        split_seed=about.split_seed,
        withheld=withheld,
        imbalance=about.imbalance,
        metadata=about.metadata,
    )
    with whole_file(out) as partial:
        save_entry(partial, Entry(description, Contribution(len(data), sums)))
    if withheld:
        say(console, f"withheld, fewer than {minimum_count} images: {', '.join(withheld)}")
    if fusion.width:
        say(console, f"over {', '.join(fusion.variables)} too, as the model is")
    added = opened.info().added
    treated = f" ({added:+} by {about.imbalance})" if about.imbalance else ""
    say(console, f"sums over {len(data)} training images{treated}: {out}")
