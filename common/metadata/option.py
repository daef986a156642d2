"""The option that commands ask for metadata by."""

from __future__ import annotations

from typing import Annotated

import typer

from common.metadata.fusion import KINDS

MetadataFusion = Annotated[
    str,
    typer.Option(
        "--metadata",
        help=f"Age, sex and localisation: {', '.join(KINDS[1:])}; with settings as "
        "'early scale=4 columns=age,sex'.",
    ),
]
