"""The option that all commands of a site share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SiteFolder = Annotated[Path, typer.Option(help="Folder of the site's settings, key and trail.")]
DEFAULT = Path("site")
