"""The command ``dermafed``: each package brings its commands, imported when they are used."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from types import FrameType
from typing import Any, NoReturn

import click
import typer
from typer.core import TyperGroup

from common.deployment.proxies import set_direct_on_loopback
from common.errors import DermafedError, InterruptionError

COMMANDS = "dermafed.commands"
INTERRUPTED = 130
_HELP = {"help_option_names": ["-h", "--help"]}

# Flower and Ray report to their makers unless told not to; it is set before either is imported.
NO_TELEMETRY = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
}


class LazyGroup(TyperGroup):
    """A group whose commands are the entry points of `COMMANDS`."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """List the commands that are installed."""
        return sorted(point.name for point in entry_points(group=COMMANDS))

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        for point in entry_points(group=COMMANDS, name=cmd_name):
            loaded = point.load()
            if isinstance(loaded, typer.Typer):
                return typer.main.get_command(loaded)
            single = typer.Typer(add_completion=False, rich_markup_mode="rich")
            single.command(cmd_name)(loaded)
            return typer.main.get_command(single)
        return None


def command_group(name: str, about: str, *commands: Callable[..., None]) -> typer.Typer:
    """Make a command of several commands, each under its function's name."""
    group = typer.Typer(
        name=name,
        add_completion=False,
        no_args_is_help=True,
        help=about,
        context_settings=_HELP,
    )
    for command in commands:
        group.command()(command)
    return group


app = typer.Typer(
    cls=LazyGroup,
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings=_HELP,
)


@app.callback()
def dermafed() -> None:
    """Train one skin-lesion classifier over hospitals; no image leaves any of them.

    [bold]dermafed simulate[/bold] runs the whole thing on a synthetic cohort, here and now.
    """


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run a command and exit; an error is one line on standard error, never broken by a box."""
    os.environ.update({name: os.environ.get(name, value) for name, value in NO_TELEMETRY.items()})
    set_direct_on_loopback()
    signal.signal(signal.SIGTERM, _terminate)
    try:
        outcome: Any = app(arguments, standalone_mode=False)
    except click.ClickException as error:
        hint = " (see --help)" if isinstance(error, click.UsageError) else ""
        _fail(f"{error.format_message()}{hint}", error.exit_code)
    except InterruptionError as error:
        _fail(f"interrupted; {error}", INTERRUPTED)
    except DermafedError as error:
        _fail(str(error), 1)
    except (KeyboardInterrupt, click.Abort):
        outcome = INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(1) from None
    # Typer, too, turns Ctrl-C into this code, without a word.
    if outcome == INTERRUPTED:
        _fail("interrupted", INTERRUPTED)
    raise SystemExit(outcome if isinstance(outcome, int) else 0)


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    # As Ctrl-C, so that temporary folders are removed.
    raise KeyboardInterrupt


def _fail(message: str, code: int) -> NoReturn:
    line = " ".join(message.split("\n"))
    shown = "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)
    sys.stderr.write(f"dermafed: {shown}\n")
    raise SystemExit(code)
