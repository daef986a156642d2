"""``dermafed backbones``: what there is, and whether it matches its reference output."""

from __future__ import annotations

from typing import Annotated

import typer

from common.backbones import Backbone, backbone_names, get_backbone
from common.backbones.weights import weights_folder
from common.console import messages, output, say

app = typer.Typer(
    name="backbones",
    add_completion=False,
    help="List the backbones, or match one to its reference output.",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def table(context: typer.Context) -> None:
    """List the backbones: what they give and take, their licence, where their weights are.

    Example:

      dermafed backbones
    """
    if context.invoked_subcommand is not None:
        return
    from rich.table import Table

    shown = Table("backbone", "features", "input", "licence", "weights")
    for name in backbone_names():
        backbone = get_backbone(name)
        status = "" if backbone.weights is None else backbone.weights.status()
        shown.add_row(name, str(backbone.dimension), _input(backbone), backbone.licence, status)
    output().print(shown)
    say(messages(), f"files are looked for in {weights_folder()}, and fetched to it")


@app.command()
def check(
    names: Annotated[list[str], typer.Argument(help="Backbones, or timm:NAME@SHA256.")],
) -> None:
    """Run a fixed picture through backbones and compare with reference outputs.

    Weights that are not here are fetched. Exits non-zero where an output differs.

    Example:

      dermafed backbones check efficientnet_lite0
    """
    from common.backbones.reference import match_reference

    console = output()
    for name in names:
        match = match_reference(name)
        say(
            console,
            f"{match.name}: matches {match.against}; {match.values} numbers differ by at most "
            f"{match.difference:.0e} of the largest",
        )


def _input(backbone: Backbone) -> str:
    transform = backbone.transform
    height, width = transform.shape
    part = "central square" if transform.resize is None else f"of {transform.resize}"
    return f"{width} x {height}, {part}, {transform.interpolation}"
