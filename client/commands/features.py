"""``dermafed features``: export a cohort's features."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from common.backbones import get_backbone
from common.cohort import load_cohort
from common.console import messages, progress_bar, say
from common.feature_cache import FeatureCache, default_cache
from common.features import extract
from common.interruption import features_are_kept
from common.options import BackboneName, CacheFolder, Overwrite, SkipUnreadable, SplitSeed
from common.split import split_groups
from common.whole_file import check_output, whole_file


@features_are_kept
def features(
    cohort: Annotated[Path, typer.Argument(help="Cohort folder or manifest.")],
    out: Annotated[Path, typer.Option(help="The .npz file to write.")],
    backbone: BackboneName = "efficientnet_lite0",
    split_seed: SplitSeed = 1,
    cache: CacheFolder = None,
    skip_unreadable: SkipUnreadable = False,
    overwrite: Overwrite = False,
) -> None:
    """Export features, labels, sites and the split of a cohort, for use elsewhere.

    The file has image_id, x (float32, images x dimension), site, y (class names), split, group.

    Example:

      dermafed features path/to/HAM10000 --out ham.npz
    """
    check_output(out, overwrite=overwrite)
    table = load_cohort(cohort)
    network = get_backbone(backbone)
    store = FeatureCache(cache or default_cache(), network)
    console = messages()
    with progress_bar(console, "features") as bar:
        found = extract(table.path, network, store, skip_unreadable=skip_unreadable, progress=bar)
    for problem in found.unreadable:
        say(console, f"left out: {problem}")
    kept = found.kept
    arrays = {
        "image_id": table.image_id[kept],
        "x": found.x,
        "site": table.site[kept],
        "y": np.array(table.classes)[table.y[kept]],
        "split": split_groups(split_seed, table.group[kept]),
        "group": table.group[kept],
    }
    with whole_file(out) as partial, partial.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **arrays)
    say(console, f"{len(found.x)} images, {found.computed} computed: {out}")
