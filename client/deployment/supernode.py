"""Flower's SuperNode, which ends when it gives up: ``python -m client.deployment.supernode``.

When a connection is refused for good after it has been online (a certificate that has expired, or
a middlebox's), Flower's own program stops asking for messages, and goes on to serve its port: it
looks alive, and is none. This one ends, and its supervisor starts it again. Its answers go out in
turn (`client.deployment.turns`).
"""

from __future__ import annotations

import os
import sys
import traceback
from typing import NoReturn


def main() -> NoReturn:
    """Be Flower's SuperNode.

    Raises
    ------
    SystemExit
        Where Flower ends it itself, with what it has to close.
    """
    from flwr.supernode import start_client_internal
    from flwr.supernode.cli.flower_supernode import flower_supernode

    from client.deployment.turns import answer_in_turn

    answer_in_turn(start_client_internal)
    sys.argv[0] = "flower-supernode"
    try:
        flower_supernode()
    # Whatever it is, the port's thread would outlive it.
    except Exception:  # noqa: BLE001
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


if __name__ == "__main__":
    main()
