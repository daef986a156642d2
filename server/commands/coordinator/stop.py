"""``dermafed coordinator stop``: nothing is left running."""

from __future__ import annotations

from common.console import messages, say
from common.deployment.supervisor import stop_all
from server.commands.coordinator.folder import DEFAULT, CoordinatorFolder


def stop(folder: CoordinatorFolder = DEFAULT) -> None:
    """Stop the coordinator's programs, and a run that is under way.

    The run goes on from its last round with dermafed coordinator run --resume.

    Example:

      dermafed coordinator stop
    """
    stopped = stop_all(folder.absolute())
    say(messages(), f"stopped: {', '.join(stopped) or 'nothing was running'}")
