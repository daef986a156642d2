"""Flower's SuperLink, whose writes wait for one another: ``python -m server.deployment.superlink``.

Flower gives a write to its database five seconds to get its turn, and answers 500 after that. No
SuperNode asks again after a 500, so that a site's answer is lost until the round's deadline; and
several sites that send a network at once, to a machine that is busy, are enough. A client of
Flower's waits 30 s for an answer, and does ask again after that.
"""

from __future__ import annotations

import sys

BUSY_SECONDS = 25


def main() -> None:
    """Be Flower's SuperLink."""
    from flwr.supercore import constant, sql_mixin
    from flwr.superlink.cli import flower_superlink

    patient = {**dict(constant.SQLITE_PRAGMAS), "busy_timeout": str(1000 * BUSY_SECONDS)}
    # It has no option for it.
    vars(sql_mixin)["SQLITE_PRAGMAS"] = tuple(patient.items())
    sys.argv[0] = "flower-superlink"
    flower_superlink()


if __name__ == "__main__":
    main()
