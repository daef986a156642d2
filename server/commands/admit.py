"""``dermafed admit``: a closed form's model with a new site's entry."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.console import messages, say
from common.options import Overwrite
from server.ledger import change_ledger


def admit(
    run: Annotated[Path, typer.Argument(help="Folder of a run with a ledger.")],
    entry: Annotated[list[Path], typer.Argument(help="Files made by dermafed contribute.")],
    out: Annotated[Path, typer.Option(help="Run folder to write.")],
    overwrite: Overwrite = False,
) -> None:
    """Add new sites to a model that was made with --set ledger=true, asking no other site.

    The new model equals a fit with them.

    Example:

      dermafed admit runs/three rosendahl.safetensors --out runs/four
    """
    change = change_ledger(run, out, admit=entry, overwrite=overwrite)
    console = messages()
    say(console, f"{len(change.sites)} sites, {change.images} training images: {out}")
    say(console, "probabilities are not calibrated: that needs the sites' validation images")
