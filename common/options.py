"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.backbones import backbone_names

BackboneName = Annotated[
    str, typer.Option(help=f"One of: {', '.join(backbone_names())}; or timm:NAME@SHA256.")
]
CacheFolder = Annotated[
    Path | None, typer.Option(help="Feature cache; $DERMAFED_CACHE or the user's if absent.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
SkipUnreadable = Annotated[
    bool, typer.Option("--skip-unreadable", help="Leave unreadable images out, naming each.")
]
SplitSeed = Annotated[int, typer.Option(help="Seed of the split by lesion, from 0.")]
