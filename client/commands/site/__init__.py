"""``dermafed site``: take part in a federation, as one hospital."""

from __future__ import annotations

import typer

from client.commands.site.audit import audit
from client.commands.site.check import check
from client.commands.site.init import init
from client.commands.site.join import join
from client.commands.site.leave import leave
from client.commands.site.status import status

app = typer.Typer(
    name="site",
    add_completion=False,
    no_args_is_help=True,
    help="Take part in a federation, as one hospital.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (init, join, check, status, audit, leave):
    app.command()(command)
