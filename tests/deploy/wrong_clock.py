"""Flower's SuperNode with a clock that is wrong: ``wrong_clock.py SECONDS OPTIONS``."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta

import flwr.supernode.node_auth_http_interceptor as signing
from flwr.supercore.date import now
from flwr.supernode.cli.flower_supernode import flower_supernode


def _wrong() -> datetime:
    return now() + timedelta(seconds=_off)


if __name__ == "__main__":
    _off = float(sys.argv.pop(1))
    # What it signs with each request.
    vars(signing)["now"] = _wrong
    flower_supernode()
