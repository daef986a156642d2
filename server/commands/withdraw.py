"""``dermafed withdraw``: a closed form's model without a site that withdraws its consent."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from common.console import messages, say
from common.options import Overwrite
from server.ledger import change_ledger


def withdraw(
    run: Annotated[Path, typer.Argument(help="Folder of a run with a ledger.")],
    site: Annotated[list[str], typer.Argument(help="Sites that withdraw.")],
    out: Annotated[Path, typer.Option(help="Run folder to write.")],
    overwrite: Overwrite = False,
) -> None:
    """Take sites out of a model that was made with --set ledger=true, asking no other site.

    The new model equals a fit without them. Delete the old run folder: it holds their sums, and
    the difference of the two models' sums is theirs.

    Example:

      dermafed withdraw runs/four rosendahl --out runs/three
    """
    change = change_ledger(run, out, withdraw=site, overwrite=overwrite)
    console = messages()
    say(console, f"{len(change.sites)} sites, {change.images} training images: {out}")
    say(console, "probabilities are not calibrated: that needs the sites' validation images")
    say(console, f"delete {run}: it still holds the sums of {', '.join(site)}")
