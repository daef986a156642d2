"""The option that all commands of a coordinator share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

CoordinatorFolder = Annotated[
    Path, typer.Option(help="Folder of the coordinator's settings, certificates and runs.")
]
DEFAULT = Path("coordinator")
