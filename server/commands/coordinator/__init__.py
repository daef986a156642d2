"""``dermafed coordinator``: run a federation of hospitals."""

from __future__ import annotations

from common.cli import command_group
from server.commands.coordinator.init import init
from server.commands.coordinator.invite import invite, remove
from server.commands.coordinator.run import run
from server.commands.coordinator.sites import sites
from server.commands.coordinator.start import start
from server.commands.coordinator.status import status
from server.commands.coordinator.stop import stop

app = command_group(
    "coordinator",
    "Run a federation of hospitals.",
    *(init, start, invite, remove, sites, run, status, stop),
)
